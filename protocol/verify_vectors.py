#!/usr/bin/env python3
"""Checks the test vectors of secure aggregation, written from SECURE-AGGREGATION.md alone.

    python3 protocol/verify_vectors.py [--self-test] [DIR]

Needs PyNaCl (Debian: python3-nacl). Every message and intermediate value of the rounds is derived again
from the secrets in the file; every bad message must be refused with the error that its vector names.
--self-test changes the good vectors, one field at a time, and counts the changes that are noticed.
"""
import copy
import functools
import hashlib
import itertools
import json
import math
import random
import struct
import sys
from pathlib import Path

from nacl import bindings as sodium

L = 2**252 + 27742317777372353535851937790883648493  # order of ristretto255
CHUNK = 65_536
STEPS = ["advertise", "share", "mask", "confirm", "unmask", "finished"]
STEP_OF = {
    "advertisement": "advertise", "roster": "share", "roster_commitment": "share", "neighbour_request": "share",
    "roster_opening": "share", "share_upload": "share", "share_delivery": "mask", "masked_input": "mask",
    "survivor_notice": "confirm", "consistency_signature": "confirm", "quorum_claim": "unmask",
    "quorum_request": "unmask", "quorum": "unmask", "unmask_shares": "unmask"}


class Refused(Exception):
    """A message that the protocol refuses, as the vectors write it."""
    def __init__(self, case, participant=None, step=None, defect=None):
        fields = {"case": case, "participant": participant, "step": step, "defect": defect}
        self.error = {name: value for name, value in fields.items() if value is not None}
        super().__init__(str(self.error))


class Wrong(Exception):
    """A vector that does not agree with the protocol."""


def same(what, found, expected):
    if found != expected:
        raise Wrong(f"{what}: {str(found)[:60]} instead of {str(expected)[:60]}")


# Section 1: notation. Hashes take and give bytes; messages hold hexadecimal text, `un` reads it.
un = bytes.fromhex


def num(value):
    return struct.pack("<q", value)


def framed(domain, *parts):
    return b"".join(num(len(part)) + part for part in (domain.encode(), *parts))


def blake(data, key=b""):
    return hashlib.blake2b(data, digest_size=32, key=key).digest()


def h(name, *parts, key=b""):
    return blake(framed("accord/secagg/1/" + name, *parts), key)


def signed(name, *parts):
    return framed("accord/secagg/1/" + name, *parts)


@functools.lru_cache(None)
def sign(seed, message):
    return sodium.crypto_sign(message, sodium.crypto_sign_seed_keypair(seed)[1])[:64]


@functools.lru_cache(None)
def verifies(public, signature, message):
    if len(public) != 32 or len(signature) != 64:
        return False
    try:
        return sodium.crypto_sign_open(signature + message, public) == message
    except Exception:
        return False


@functools.lru_cache(None)
def key_pair(seed):  # crypto_box_seed_keypair: the secret key is the first half of SHA-512(seed)
    public, secret = sodium.crypto_box_seed_keypair(seed)
    same("secret key", secret, hashlib.sha512(seed).digest()[:32])
    return public, secret


@functools.lru_cache(None)
def x25519(secret, public):
    """None for a point of small order."""
    try:
        return sodium.crypto_scalarmult(secret, public)
    except Exception:
        return None


def canonical(public):
    """Whether these are the bytes of a number below 2^255 - 19."""
    return len(public) == 32 and int.from_bytes(public, "little") < 2**255 - 19


def scalar(value):
    """Reads a canonical scalar."""
    if len(value) != 32 or int.from_bytes(value, "little") >= L:
        raise ValueError("not a canonical scalar")
    return int.from_bytes(value, "little")


# Section 7: key streams and masks.
def chacha20_block(words):
    x = list(words)
    for _ in range(10):
        for a, b, c, d in ((0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15),
                           (0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14)):
            p, q, r, s = x[a], x[b], x[c], x[d]
            p = (p + q) & 0xFFFFFFFF; s ^= p; s = (s << 16 | s >> 16) & 0xFFFFFFFF
            r = (r + s) & 0xFFFFFFFF; q ^= r; q = (q << 12 | q >> 20) & 0xFFFFFFFF
            p = (p + q) & 0xFFFFFFFF; s ^= p; s = (s << 8 | s >> 24) & 0xFFFFFFFF
            r = (r + s) & 0xFFFFFFFF; q ^= r; q = (q << 7 | q >> 25) & 0xFFFFFFFF
            x[a], x[b], x[c], x[d] = p, q, r, s
    return struct.pack("<16I", *((a + b) & 0xFFFFFFFF for a, b in zip(x, words)))


@functools.lru_cache(64)
def chacha20(key, chunk, count):
    head = struct.unpack("<4I8I", b"expand 32-byte k" + key)
    return b"".join(chacha20_block(head + (block, chunk, 0, 0)) for block in range((count + 63) // 64))[:count]


def double(a):
    return (a << 1) ^ (0x11B if a & 0x80 else 0)


def make_sbox():
    box, p, q = [0x63] * 256, 1, 1
    while True:
        p ^= double(p)
        for shift in (1, 2, 4):
            q ^= q << shift & 0xFF
        q ^= 0x09 if q & 0x80 else 0
        box[p] = q ^ 0x63
        for shift in (1, 2, 3, 4):
            box[p] ^= (q << shift | q >> 8 - shift) & 0xFF
        if p == 1:
            return box


SBOX = make_sbox()
TABLE = [double(s) << 24 | s << 16 | s << 8 | (double(s) ^ s) for s in SBOX]
TABLES = [TABLE] + [[(t >> bits | t << 32 - bits) & 0xFFFFFFFF for t in TABLE] for bits in (8, 16, 24)]


def sub_word(w):
    return SBOX[w >> 24] << 24 | SBOX[w >> 16 & 255] << 16 | SBOX[w >> 8 & 255] << 8 | SBOX[w & 255]


@functools.lru_cache(64)
def aes256_ctr(key, chunk, count):
    """FIPS 197 and SP 800-38A; counter block: chunk (4, little endian), 8 zeros, block (4, big endian)."""
    k, rcon = list(struct.unpack(">8I", key)), 1
    for i in range(8, 60):
        t = k[-1]
        if i % 8 == 0:
            t, rcon = sub_word((t << 8 | t >> 24) & 0xFFFFFFFF) ^ rcon << 24, double(rcon)
        elif i % 8 == 4:
            t = sub_word(t)
        k.append(k[-8] ^ t)
    t0, t1, t2, t3 = TABLES
    first, = struct.unpack(">I", struct.pack("<I", chunk))
    blocks = []
    for block in range((count + 15) // 16):
        a, b, c, d = first ^ k[0], k[1], k[2], block ^ k[3]
        for i in range(4, 56, 4):
            a, b, c, d = (
                t0[a >> 24] ^ t1[b >> 16 & 255] ^ t2[c >> 8 & 255] ^ t3[d & 255] ^ k[i],
                t0[b >> 24] ^ t1[c >> 16 & 255] ^ t2[d >> 8 & 255] ^ t3[a & 255] ^ k[i + 1],
                t0[c >> 24] ^ t1[d >> 16 & 255] ^ t2[a >> 8 & 255] ^ t3[b & 255] ^ k[i + 2],
                t0[d >> 24] ^ t1[a >> 16 & 255] ^ t2[b >> 8 & 255] ^ t3[c & 255] ^ k[i + 3])
        rows = ((a, b, c, d), (b, c, d, a), (c, d, a, b), (d, a, b, c))
        blocks.append(struct.pack(">4I", *(
            (SBOX[p >> 24] << 24 | SBOX[q >> 16 & 255] << 16 | SBOX[r >> 8 & 255] << 8 | SBOX[s & 255]) ^ k[56 + i]
            for i, (p, q, r, s) in enumerate(rows))))
    return b"".join(blocks)[:count]


STREAMS = {"chacha20": chacha20, "aes256-ctr": aes256_ctr}


@functools.lru_cache(4096)
def mask_words(suite, seed, bits, dimension):
    lane = 2 if bits == 16 else 4
    stream = b"".join(
        STREAMS[suite](seed, chunk, min(CHUNK, dimension * lane - chunk * CHUNK))
        for chunk in range(-(-dimension * lane // CHUNK)))
    return [w & 2**bits - 1 for w in struct.unpack(f"<{dimension}{'H' if lane == 2 else 'I'}", stream)]


def pack(words, bits):
    whole = sum(word << i * bits for i, word in enumerate(words))
    return whole.to_bytes((len(words) * bits + 7) // 8, "little")


def unpack(packed, bits, dimension):
    if len(packed) != (dimension * bits + 7) // 8:
        raise Refused("wrongInputLength")
    whole = int.from_bytes(packed, "little")
    if whole >> dimension * bits:
        raise Refused("nonZeroPadding")
    return [whole >> i * bits & 2**bits - 1 for i in range(dimension)]


def centred(words, bits):
    return [word - (word >> bits - 1 << bits) for word in words]


# Section 4: the roster's tree.
FIELDS = ("id", "share_key", "mask_key", "seed_commitment", "signature")


def leaf(member):
    return h("roster-leaf", *(un(member[name]) for name in FIELDS))


def quorum_leaf(signer, signature):
    return h("quorum-leaf", num(signer), un(signature))


def tree_hashes(values, indices, node="roster-node"):
    """The top, and the hashes that prove the leaves at the indices."""
    hashes = []
    while len(values) > 1:
        hashes += [values[i ^ 1] for i in indices if i ^ 1 < len(values) and i ^ 1 not in indices]
        indices = sorted({i // 2 for i in indices})
        values = [h(node, *values[i:i + 2]) if i + 1 < len(values) else values[i]
                  for i in range(0, len(values), 2)]
    return values[0], hashes


def opened_top(known, hashes, count, node="roster-node"):
    """The top that leaves (by position) and the hashes beside them lead to; None for too few or many hashes."""
    hashes = [un(value) for value in hashes]
    while count > 1:
        above = {}
        for i in sorted(known):
            if i ^ 1 >= count:
                above[i // 2] = known[i]
            elif i // 2 not in above:
                if i ^ 1 not in known and not hashes:
                    return None
                other = known[i ^ 1] if i ^ 1 in known else hashes.pop(0)
                above[i // 2] = h(node, *((other, known[i]) if i % 2 else (known[i], other)))
        known, count = above, (count + 1) // 2
    return None if hashes or not known else known[0]


def roster_root(sid, ids, top):
    return h("roster-root", sid, num(len(ids)), b"".join(map(un, ids)), top)


def index_digest(indices):
    return h("indices", b"".join(map(num, indices)))


def input_digest(data):
    leaves = [blake(framed("accord/secagg/1/input-chunk") + data[i:i + CHUNK]) for i in range(0, len(data), CHUNK)]
    return h("input-digest", num(len(data)), b"".join(leaves))


def bundle_digest(shares):
    return h("share-bundle", *(part for s in shares for part in (num(s["recipient"]), un(s["ciphertext"]))))


def notice_bytes(sid, root, notice):
    return signed("confirm", sid, root, index_digest(notice["shared"]), index_digest(notice["uploaded"]))


def advertisement_bytes(sid, ad):
    return signed("advertise", sid, *(un(ad[name]) for name in FIELDS[:4]))


def advertised(sid, ad):
    """Whether sizes and signature are right."""
    return all(len(un(ad[name])) == 32 for name in FIELDS[:4]) and verifies(
        un(ad["id"]), un(ad["signature"]), advertisement_bytes(sid, ad))


# Section 6: Shamir's secret sharing.
def evaluate(coefficients, x):
    return sum(c * pow(x, i, L) for i, c in enumerate(coefficients)) % L


def interpolate(points):
    """The value at 0."""
    total = 0
    for x, y in points:
        up = math.prod(other for other, _ in points if other != x)
        down = math.prod(other - x for other, _ in points if other != x)
        total += y * up * pow(down, -1, L)
    return total % L


def scalar_bytes(value):
    return value.to_bytes(32, "little")


# Section 11: the sample of a claimed quorum; exact.
def sample_size(claimed, quorum, n):
    up, down, size = 2**41 * n, 1, 0
    while up > down:
        up, down, size = up * (quorum - 1 - size), down * (claimed - size), size + 1
    return min(size, claimed)


class Parameters:
    def __init__(self, v):
        names = ("label", "suite", "graph", "degree", "threshold", "ring_bits", "dimension", "minimum_cohort",
                 "minimum_survivors", "corrupt_permille")
        for name in names:
            setattr(self, name, v[name])
        same("descriptor", v["descriptor"], ";".join(f"{name}={v[name]}" for name in names))
        self.sid = h("vectors", v["descriptor"].encode())
        same("sid", v["sid"], self.sid.hex())
        self.sparse = self.graph == "sparse"
        self.limit = 2**20 if self.sparse else 200
        self.least = max(self.minimum_cohort, self.degree + 1 if self.sparse else 2)
        self.packed = (self.dimension * self.ring_bits + 7) // 8

    def needed(self, n):  # t
        return self.threshold if self.sparse else 2 * n // 3 + 1

    def quorum(self, n):
        return (n + n * self.corrupt_permille // 1000) // 2 + 1

    def alive(self, n):
        return self.minimum_survivors if self.sparse else max(self.needed(n), self.minimum_survivors)

    def check_indices(self, indices, n, refuse):
        if any(not 0 <= i < n for i in indices):
            raise refuse("indexOutOfRange")
        if any(a >= b for a, b in zip(indices, indices[1:])):
            raise refuse("notAscending")


class Client:
    """A participant with the secrets and random draws of the vector."""
    def __init__(self, p, v, enrolled):
        self.p, self.v, self.enrolled, self.sent = p, v, enrolled, {}
        self.seed, self.id, self.index = un(v["identity_seed"]), v["id"], v["index"]
        same("id", self.id, sodium.crypto_sign_seed_keypair(self.seed)[0].hex())
        self.c, self.z, self.b = key_pair(un(v["share_key_seed"])), un(v["z"]), un(v["b"])
        if 0 in (scalar(self.z), scalar(self.b)):
            raise Wrong("a secret is zero")
        u_seed = h("mask-key", p.sid, un(self.id), key=self.z)
        same("mask key seed", v["mask_key_seed"], u_seed.hex())
        self.u = key_pair(u_seed)
        self.ad = {"id": self.id, "share_key": self.c[0].hex(), "mask_key": self.u[0].hex(),
                   "seed_commitment": h("seed-commitment", p.sid, un(self.id), key=self.b).hex()}
        for name in FIELDS[1:4]:
            same(name, v[name], self.ad[name])
        self.ad["signature"] = sign(self.seed, advertisement_bytes(p.sid, self.ad)).hex()

    def check_ids(self, ids):
        if len(ids) < self.p.least:
            raise Refused("cohortTooSmall")
        if len(ids) > self.p.limit:
            raise Refused("cohortTooLarge")
        for a, b in zip(ids, ids[1:]):
            if a >= b:
                raise Refused("duplicateParticipant" if a == b else "rosterNotSorted", b)
        if self.id not in ids:
            raise Refused("ownAdvertisementMissing")
        for other in ids:
            if other not in self.enrolled:
                raise Refused("notEnrolled", other)
        self.ids, self.n = ids, len(ids)

    def check_peers(self, members):
        for m in members:
            if not advertised(self.p.sid, m):
                raise Refused("badSignature", m["id"], "advertise")
            if not canonical(un(m["share_key"])) or not canonical(un(m["mask_key"])):
                raise Refused("unusableKey", m["id"])
            if m["share_key"] == self.ad["share_key"] or m["mask_key"] == self.ad["mask_key"]:
                raise Refused("unusableKey", m["id"])
            if x25519(self.c[1], un(m["share_key"])) is None:
                raise Refused("unusableKey", m["id"])

    def check_opening(self, opening):
        if len(opening["members"]) != len(opening["indices"]):
            raise Refused("malformedList", None, "share", "wrongEntries")
        for i, m in zip(opening["indices"], opening["members"]):
            if m["id"] != self.ids[i]:
                raise Refused("openingRejected", self.ids[i])
        leaves = dict(zip(opening["indices"], map(leaf, opening["members"])))
        if opened_top(leaves, opening["hashes"], self.n) != self.top:
            raise Refused("rosterRootMismatch")

    def roster(self, m):
        if self.p.sparse:
            raise Refused("graphMismatch")
        members = m["members"]
        self.check_ids([member["id"] for member in members])
        if members[self.ids.index(self.id)] != self.ad:
            raise Refused("ownAdvertisementSubstituted")
        top = tree_hashes([leaf(member) for member in members], [])[0]
        self.root = roster_root(self.p.sid, self.ids, top)
        if m["root"] != self.root.hex():
            raise Refused("rosterRootMismatch")
        self.dealt = [i for i in range(self.n) if i != self.index]
        return self.deal([members[i] for i in self.dealt])

    def roster_commitment(self, m):
        top = un(m["top"])
        root = roster_root(self.p.sid, m["ids"], top)
        if "draw" in self.sent and root != self.root:
            raise Refused("conflictingRetry", None, "share")
        self.check_ids(m["ids"])
        if len(top) != 32:
            raise Refused("malformedList", None, "share", "wrongSize")
        self.top, self.root, self.sent["draw"] = top, root, True
        self.dealt = [share["holder"] for share in self.v["dealt"]]
        if len(self.dealt) != self.p.degree or self.index in self.dealt:
            raise Wrong("neighbours")
        return "neighbour_request", {"id": self.id, "root": root.hex(), "neighbours": self.dealt}

    def roster_opening(self, m):
        if m["indices"] != sorted(self.dealt + [self.index]):
            raise Refused("malformedList", None, "share", "wrongEntries")
        self.check_opening(m)
        members = dict(zip(m["indices"], m["members"]))
        if members.pop(self.index) != self.ad:
            raise Refused("ownAdvertisementSubstituted")
        return self.deal([members[i] for i in self.dealt])

    def deal(self, members):
        self.check_peers(members)
        self.peers = dict(zip(self.dealt, members))
        polynomials = [[scalar(secret)] + [scalar(un(c)) for c in self.v[name]] for secret, name in
                       ((self.z, "z_coefficients"), (self.b, "b_coefficients"))]
        same("degree", [len(f) for f in polynomials], [self.p.needed(self.n)] * 2)
        holders = self.dealt + ([] if self.p.sparse else [self.index])
        same("holders", [share["holder"] for share in self.v["dealt"]], holders)
        self.held, sealed = {}, []
        for share in self.v["dealt"]:
            j = share["holder"]
            pair = [scalar_bytes(evaluate(f, j + 1)) for f in polynomials]
            expected = {"holder": j, "x": j + 1, "z_share": pair[0].hex(), "b_share": pair[1].hex()}
            if j == self.index:
                self.held[j] = pair
                expected["kept"] = 1
            else:
                key = self.share_key(self.peers[j])
                expected["agreed"] = x25519(self.c[1], un(self.peers[j]["share_key"])).hex()
                expected["key"], expected["nonce"] = key.hex(), share["nonce"]
                text = sodium.crypto_aead_xchacha20poly1305_ietf_encrypt(
                    b"".join(pair), self.share_data(self.id, self.peers[j]["id"]), un(share["nonce"]), key)
                sealed.append({"recipient": j, "ciphertext": share["nonce"] + text.hex()})
            same("share", share, expected)
        self.bundle = bundle_digest(sealed)
        signature = sign(self.seed, signed("share", self.p.sid, self.root, un(self.id), self.bundle))
        return "share_upload", {
            "id": self.id, "root": self.root.hex(), "shares": sealed, "signature": signature.hex()}

    def share_key(self, peer):
        low, high = sorted((self.c[0], un(peer["share_key"])))
        return h("share-key", low, high, self.p.sid, key=x25519(self.c[1], un(peer["share_key"])))

    def share_data(self, sender, recipient):
        return signed("share-additional-data", self.p.sid, self.root, un(sender), un(recipient))

    def check_alive(self, others, step):
        needed = self.p.needed(self.n)
        count = others if self.p.sparse else others + 1
        if count < (needed if self.p.sparse else max(needed, self.p.minimum_survivors)):
            raise Refused("tooFewAlive", None, step)

    def list_defect(self, step):
        return lambda defect: Refused("malformedList", None, step, defect)

    def share_delivery(self, m, x):
        if "mask" in self.sent and self.sent["mask"] != (x, m):
            raise Refused("conflictingRetry", None, "mask")
        if len(x) != self.p.dimension:
            raise Refused("wrongInputLength")
        if any(word >> self.p.ring_bits for word in x):
            raise Refused("inputOutOfRing")
        evidence, shares, refuse = m["evidence"], m["shares"], self.list_defect("mask")
        self.p.check_indices([e["index"] for e in evidence], self.n, refuse)
        own = [e for e in evidence if e["index"] == self.index]
        if not own:
            raise Refused("ownEntryMissing", None, "share")
        if own[0]["bundle_digest"] != self.bundle.hex():
            raise Refused("ownEntrySubstituted", None, "share")
        others = [e for e in evidence if e["index"] != self.index]
        self.living = [e["index"] for e in others]
        if not set(self.living) <= set(self.dealt):
            raise refuse("wrongEntries")
        self.check_alive(len(others), "mask")
        for e in others:
            peer = self.ids[e["index"]]
            if not verifies(un(peer), un(e["signature"]), signed(
                    "share", self.p.sid, self.root, un(peer), un(e["bundle_digest"]))):
                raise Refused("badSignature", peer, "share")
        senders = [s["sender"] for s in shares]
        self.p.check_indices(senders, self.n, refuse)
        if self.index in senders:
            raise refuse("selfAddressed")
        if not self.p.sparse and senders != self.living:
            raise refuse("wrongEntries")
        if self.p.sparse:
            if len(senders) > self.p.degree + math.isqrt(64 * self.p.degree):
                raise Refused("inDegreeTooLarge", self.id)
            if any(j in self.peers and j not in self.living for j in senders):
                raise refuse("wrongEntries")
        strangers = [j for j in senders if j not in self.peers]
        if m["opening"]["indices"] != strangers:
            raise refuse("wrongEntries")
        if strangers:
            self.check_opening(m["opening"])
            self.check_peers(m["opening"]["members"])
        peers = {**self.peers, **dict(zip(strangers, m["opening"]["members"]))}
        for s in shares:
            peer, text = peers[s["sender"]], un(s["ciphertext"])
            if len(text) != 104:
                raise Refused("malformed", peer["id"], "share", "wrongSize")
            try:
                plain = sodium.crypto_aead_xchacha20poly1305_ietf_decrypt(
                    text[24:], self.share_data(peer["id"], self.id), text[:24], self.share_key(peer))
            except Exception:
                raise Refused("shareRejected", peer["id"]) from None
            try:
                self.held[s["sender"]] = [scalar_bytes(scalar(plain[:32])), scalar_bytes(scalar(plain[32:]))]
            except ValueError:
                raise Refused("malformed", peer["id"], "share", "nonCanonicalScalar") from None
        y = self.masked(x, sorted({*self.living, *senders}), peers)
        self.sent["mask"] = (x, m)
        return "masked_input", {"packed": pack(y, self.p.ring_bits).hex()}

    def masked(self, x, neighbours, peers):
        p, sid = self.p, self.p.sid
        def entry(seed):
            words = mask_words(p.suite, seed, p.ring_bits, p.dimension)
            masks.append(words)
            return {"seed": seed.hex(), "first_words": words[:4]}
        masks, signs, pairs = [], [1], []
        same("self mask", self.v["self_mask"], entry(h("self-mask", sid, un(self.id), key=self.b)))
        for j in neighbours:
            agreed = x25519(self.u[1], un(peers[j]["mask_key"]))
            if agreed is None:
                raise Refused("unusableKey", peers[j]["id"])
            low, high = sorted((un(self.id), un(peers[j]["id"])))
            signs.append(1 if self.index < j else -1)
            pairs.append({"peer": j, "sign": "+" if self.index < j else "-", "agreed": agreed.hex(),
                          **entry(h("pair-mask", sid, self.root, low, high, key=agreed))})
        same("pair masks", self.v["pair_masks"], pairs)
        y = [(word + sum(s * m[i] for s, m in zip(signs, masks))) % 2**p.ring_bits for i, word in enumerate(x)]
        same("masked input", self.v["masked_input"], y)
        return y

    def survivor_notice(self, m):
        if "confirm" in self.sent and self.sent["confirm"] != m:
            raise Refused("conflictingRetry", None, "confirm")
        refuse = self.list_defect("confirm")
        self.p.check_indices(m["shared"], self.n, refuse)
        self.p.check_indices(m["uploaded"], self.n, refuse)
        if [j for j in self.dealt if j in m["shared"]] != self.living or not set(self.held) <= set(m["shared"]):
            raise Refused("sharersChanged")
        if not set(m["uploaded"]) <= set(m["shared"]):
            raise Refused("survivorNotSharer")
        if self.index not in m["uploaded"]:
            raise Refused("ownEntryMissing", None, "confirm")
        if len(m["uploaded"]) < self.p.alive(self.n):
            raise Refused("tooFewAlive", None, "confirm")
        self.check_alive(len(set(self.dealt) & set(m["uploaded"])), "confirm")
        self.notice = self.sent["confirm"] = m
        signature = sign(self.seed, notice_bytes(self.p.sid, self.root, m))
        return "consistency_signature", {"id": self.id, "signature": signature.hex()}

    def quorum_claim(self, m):
        if "claim" in self.sent and self.sent["claim"] != m:
            raise Refused("conflictingRetry", None, "unmask")
        signers = m["signers"]
        self.p.check_indices(signers, self.n, self.list_defect("unmask"))
        if len(un(m["top"])) != 32:
            raise Refused("malformedList", None, "unmask", "wrongSize")
        for i in signers:
            if i not in self.notice["uploaded"]:
                raise Refused("unknownParticipant", self.ids[i], "confirm")
        if len(signers) < self.p.quorum(self.n):
            raise Refused("quorumTooSmall")
        self.chosen = self.v["chosen_signers"]
        same("sample", len(self.chosen), sample_size(len(signers), self.p.quorum(self.n), self.n))
        same("sample", [i for i in signers if i in self.chosen], self.chosen)
        self.sent["claim"] = m
        return "quorum_request", {"signers": self.chosen}

    def quorum(self, m):
        survivors, signers = [self.ids[i] for i in self.notice["uploaded"]], []
        for s in m["signatures"]:
            if s["id"] not in survivors:
                raise Refused("unknownParticipant", s["id"], "confirm")
            if s["id"] in signers:
                raise Refused("duplicateParticipant", s["id"])
            signers.append(s["id"])
        if "claim" in self.sent:
            self.check_sample(m, signers)
        elif len(signers) < self.p.quorum(self.n):
            raise Refused("quorumTooSmall")
        message = notice_bytes(self.p.sid, self.root, self.notice)
        for s in m["signatures"]:
            if not verifies(un(s["id"]), un(s["signature"]), message):
                raise Refused("badSignature", s["id"], "confirm")
        def shares(kind, mine):
            return [{"index": j, "share": self.held[j][kind].hex()} for j in sorted(self.held)
                    if (j in self.notice["uploaded"]) == mine]
        return "unmask_shares", {
            "id": self.id, "seed_shares": shares(1, True), "mask_key_shares": shares(0, False)}

    def check_sample(self, m, signers):
        refuse = self.list_defect("unmask")
        for position, i in enumerate(self.chosen):
            if signers[position:position + 1] != [self.ids[i]]:
                raise Refused("unknownParticipant", self.ids[i], "unmask")
        if len(signers) != len(self.chosen):
            raise refuse("wrongEntries")
        if any(len(un(s["signature"])) != 64 for s in m["signatures"]):
            raise refuse("wrongSize")
        claim = self.sent["claim"]
        leaves = {claim["signers"].index(i): quorum_leaf(i, s["signature"])
                  for i, s in zip(self.chosen, m["signatures"])}
        if opened_top(leaves, m["hashes"], len(claim["signers"]), "quorum-node") != un(claim["top"]):
            raise Refused("quorumNotCommitted")


class Server:
    def __init__(self, p, enrolled):
        self.p, self.enrolled, self.step = p, enrolled, "advertise"
        self.ads, self.uploads, self.inputs, self.confirmed, self.revealed = {}, {}, {}, {}, {}

    def late(self, step, participant):
        if self.step != step:
            raise Refused("late", participant, step)

    def find(self, participant, step):
        if participant not in self.ids:
            raise Refused("unknownParticipant", participant, step)
        return self.ids.index(participant)

    @staticmethod
    def repeated(earlier, m, participant, step):
        if earlier is not None and earlier != m:
            raise Refused("conflictingDuplicate", participant, step)
        return earlier is not None

    def advertisement(self, m, sender):
        if self.repeated(self.ads.get(m["id"]), m, m["id"], "advertise"):
            return
        self.late("advertise", m["id"])
        if m["id"] not in self.enrolled:
            raise Refused("notEnrolled", m["id"])
        if not advertised(self.p.sid, m):
            raise Refused("badSignature", m["id"], "advertise")
        keys = [m["share_key"], m["mask_key"]]
        known = [key for ad in self.ads.values() for key in (ad["share_key"], ad["mask_key"])]
        if not all(canonical(un(key)) for key in keys) or keys[0] == keys[1] or set(keys) & set(known) \
                or None in [x25519(bytes(31) + b"\x40", un(key)) for key in keys]:
            raise Refused("unusableKey", m["id"])
        self.ads[m["id"]] = m

    def check_indices(self, indices, m, index):
        refuse = lambda defect: Refused("malformed", m["id"], "share", defect)
        self.p.check_indices(indices, self.n, refuse)
        if index in indices:
            raise refuse("selfAddressed")
        return refuse

    def opening(self, indices):
        if not indices:
            return {"indices": [], "members": [], "hashes": []}
        hashes = tree_hashes(self.leaves, indices)[1]
        return {"indices": indices, "members": [self.members[i] for i in indices],
                "hashes": [value.hex() for value in hashes]}

    def neighbour_request(self, m, sender):
        index = self.find(m["id"], "share")
        if m["root"] != self.root.hex():
            raise Refused("wrongRoster", m["id"])
        if len(m["neighbours"]) != self.p.degree:
            raise Refused("malformed", m["id"], "share", "wrongEntries")
        self.check_indices(m["neighbours"], m, index)
        return "roster_opening", self.opening(sorted(m["neighbours"] + [index]))

    def share_upload(self, m, sender):
        index = self.find(m["id"], "share")
        if self.repeated(self.uploads.get(index), m, m["id"], "share"):
            return
        self.late("share", m["id"])
        if m["root"] != self.root.hex():
            raise Refused("wrongRoster", m["id"])
        refuse = self.check_indices([s["recipient"] for s in m["shares"]], m, index)
        if len(m["shares"]) != (self.p.degree if self.p.sparse else self.n - 1):
            raise refuse("wrongEntries")
        if any(len(un(s["ciphertext"])) != 104 for s in m["shares"]):
            raise refuse("wrongSize")
        message = signed("share", self.p.sid, self.root, un(m["id"]), bundle_digest(m["shares"]))
        if not verifies(un(m["id"]), un(m["signature"]), message):
            raise Refused("badSignature", m["id"], "share")
        self.uploads[index] = m

    def masked_input(self, m, sender):
        packed = un(m["packed"])
        words = unpack(packed, self.p.ring_bits, self.p.dimension)
        if self.repeated(self.inputs.get(sender), words, self.ids[sender], "mask"):
            return
        self.late("mask", self.ids[sender])
        if sender not in self.uploads:
            raise Refused("unknownParticipant", self.ids[sender], "mask")
        self.inputs[sender] = words

    def consistency_signature(self, m, sender):
        index = self.find(m["id"], "confirm")
        if self.repeated(self.confirmed.get(index), m, m["id"], "confirm"):
            return
        self.late("confirm", m["id"])
        if index not in self.inputs:
            raise Refused("unknownParticipant", m["id"], "confirm")
        if not verifies(un(m["id"]), un(m["signature"]), notice_bytes(self.p.sid, self.root, self.notice)):
            raise Refused("badSignature", m["id"], "confirm")
        self.confirmed[index] = m

    def quorum_request(self, m, sender):
        if any(i not in self.confirmed for i in m["signers"]):
            raise Refused("malformed", self.ids[sender], "unmask", "wrongEntries")
        positions = [i for i, signer in enumerate(sorted(self.confirmed)) if signer in m["signers"]]
        return "quorum", {"signatures": [self.confirmed[i] for i in m["signers"]],
                          "hashes": [value.hex() for value in self.quorum_tree(positions)[1]]}

    def quorum_tree(self, positions):
        leaves = [quorum_leaf(i, m["signature"]) for i, m in sorted(self.confirmed.items())]
        return tree_hashes(leaves, positions, "quorum-node")

    def holders(self, dealer):
        dealt = [s["recipient"] for s in self.uploads[dealer]["shares"]]
        return sorted(dealt + ([] if self.p.sparse else [dealer]))

    def unmask_shares(self, m, sender):
        index = self.find(m["id"], "unmask")
        refuse = lambda defect: Refused("malformed", m["id"], "unmask", defect)
        lists = [list(m["seed_shares"]), list(m["mask_key_shares"])]
        for dealer in [d for d in sorted(self.uploads) if index in self.holders(d)]:
            rest = lists[0 if dealer in self.inputs else 1]
            share = rest.pop(0) if rest else {"index": None}
            if share["index"] != dealer:
                raise refuse("wrongEntries")
            if len(un(share["share"])) != 32:
                raise refuse("wrongSize")
            try:
                scalar(un(share["share"]))
            except ValueError:
                raise refuse("nonCanonicalScalar") from None
        if lists != [[], []]:
            raise refuse("wrongEntries")
        if not self.repeated(self.revealed.get(index), m, m["id"], "unmask"):
            self.revealed[index] = m

    def close(self, step):
        same("closed step", step, self.step)
        if step == "advertise":
            self.ids = sorted(self.ads)
            self.n, self.members = len(self.ids), [self.ads[i] for i in self.ids]
            self.leaves = [leaf(m) for m in self.members]
            self.top = tree_hashes(self.leaves, [])[0]
            self.root = roster_root(self.p.sid, self.ids, self.top)
        alive = {"share": len(self.uploads), "mask": len(self.inputs)}
        if step in alive and alive[step] < self.p.alive(self.n):
            raise Refused("tooFewAlive", None, step)
        if step == "mask":
            self.notice = {"shared": sorted(self.uploads), "uploaded": sorted(self.inputs)}
        if step == "confirm" and len(self.confirmed) < self.p.quorum(self.n):
            raise Refused("quorumTooSmall")
        if step == "unmask":
            self.finish()
        self.step = STEPS[STEPS.index(step) + 1]

    def outgoing(self, kind, to):
        if kind == "roster":
            return {"root": self.root.hex(), "members": self.members}
        if kind == "roster_commitment":
            return {"ids": self.ids, "top": self.top.hex()}
        if kind == "survivor_notice":
            return self.notice
        if kind == "quorum_claim":
            return {"signers": sorted(self.confirmed), "top": self.quorum_tree([])[0].hex()}
        if kind == "quorum" and not self.p.sparse:
            return {"signatures": [self.confirmed[i] for i in sorted(self.confirmed)], "hashes": []}
        same("message of the server", kind, "share_delivery")
        dealt = [s["recipient"] for s in self.uploads[to]["shares"]]
        shares = [{"sender": i, "ciphertext": s["ciphertext"]} for i in sorted(self.uploads)
                  for s in self.uploads[i]["shares"] if s["recipient"] == to]
        evidence = [{"index": i, "bundle_digest": bundle_digest(self.uploads[i]["shares"]).hex(),
                     "signature": self.uploads[i]["signature"]} for i in sorted(dealt + [to]) if i in self.uploads]
        strangers = [s["sender"] for s in shares if s["sender"] not in dealt]
        return {"evidence": evidence, "shares": shares, "opening": self.opening(strangers)}

    def recover(self, dealer, name, is_right):
        points = [(i + 1, scalar(un(s["share"]))) for i, m in sorted(self.revealed.items())
                  for s in m[name] if s["index"] == dealer]
        for chosen in itertools.combinations(points, self.p.needed(self.n)):
            secret = scalar_bytes(interpolate(chosen))
            if is_right(secret):
                return secret
        raise Refused("unrecoverable", self.ids[dealer])

    def finish(self):
        p, sid = self.p, self.p.sid
        total = [sum(column) for column in zip(*self.inputs.values())]
        def remove(seed, sign):
            for i, word in enumerate(mask_words(p.suite, seed, p.ring_bits, p.dimension)):
                total[i] -= sign * word
        for i in sorted(self.inputs):
            name = un(self.ids[i])
            b = self.recover(i, "seed_shares", lambda b: h("seed-commitment", sid, name, key=b).hex()
                             == self.members[i]["seed_commitment"])
            remove(h("self-mask", sid, name, key=b), 1)
        for d in sorted(set(self.uploads) - set(self.inputs)):
            name = un(self.ids[d])
            z = self.recover(d, "mask_key_shares", lambda z: key_pair(
                h("mask-key", sid, name, key=z))[0].hex() == self.members[d]["mask_key"])
            u = key_pair(h("mask-key", sid, name, key=z))[1]
            for i in sorted(self.inputs):
                if i in self.holders(d) or d in self.holders(i):
                    pair = sorted((name, un(self.ids[i])))
                    agreed = x25519(u, un(self.members[i]["mask_key"]))
                    remove(h("pair-mask", sid, self.root, *pair, key=agreed), 1 if i < d else -1)
        total = [word % 2**p.ring_bits for word in total]
        digests = [input_digest(pack(self.inputs[i], p.ring_bits)) for i in sorted(self.inputs)]
        notice = self.notice
        transcript = h("transcript", sid, self.root, index_digest(notice["shared"]), index_digest(notice["uploaded"]),
                       b"".join(digests), input_digest(pack(total, p.ring_bits)))
        self.result = {
            "shared": notice["shared"], "survivors": notice["uploaded"], "sum": total,
            "input_digests": [d.hex() for d in digests], "centred_sum": centred(total, p.ring_bits),
            "transcript": transcript.hex()}


class Round:
    """Both sides, and the vector's messages between them."""
    def __init__(self, v):
        self.v, self.p = v, Parameters(v["parameters"])
        people = v["participants"]["list"]
        self.enrolled = {person["id"] for person in people}
        self.clients = [Client(self.p, person, self.enrolled) for person in people]
        same("indices", [c.index for c in self.clients], list(range(len(people))))
        self.server, self.pending, self.last = Server(self.p, self.enrolled), {}, {}
        self.messages = v["messages"]["list"]

    def deliver(self, event, body, given=None):
        kind, sender, to = event["kind"], event["from"], event["to"]
        if kind == "close":
            return self.server.close(event["step"])
        same("step", event["step"], STEP_OF[kind])
        if to == "server":
            return getattr(self.server, kind)(body, sender)
        x = [given or self.clients[to].v["input"]] if kind == "share_delivery" else []
        return getattr(self.clients[to], kind)(body, *x)

    def run(self, count=None):
        """Derives each message, compares and delivers it."""
        for event in self.messages[:count]:
            kind, sender, to, body = event["kind"], event["from"], event["to"], event["message"]
            if "same_as" in body:
                body = self.messages[body["same_as"]]["message"]
            if kind == "close":
                same("sender and receiver of the close", (sender, to), ("server", "server"))
            else:
                way = (sender, to)
                first = ("advertisement", self.clients[sender].ad) if kind == "advertisement" else None
                made = self.pending.pop(way, first) or (kind, self.server.outgoing(kind, to))
                same(f"{kind} {sender} to {to}", (kind, body), made)
                if to == "server":
                    self.last[sender] = STEP_OF[kind]
            answer = self.deliver(event, body)
            if answer:
                self.pending[to, sender] = answer

    def check(self):
        self.run()
        same("unanswered messages", self.pending, {})
        server, n = self.server, self.server.n
        derived = {
            "cohort": n, "shares_needed": self.p.needed(n), "quorum": self.p.quorum(n),
            "packed_bytes": self.p.packed, "leaves": [value.hex() for value in server.leaves],
            "top": server.top.hex(), "root": server.root.hex()}
        for name, found in (("derived", derived), ("result", server.result)):
            same(name, {k: x for k, x in self.v[name].items() if k != "comment"}, found)
        inputs = [self.clients[i].v["input"] for i in server.inputs]
        same("sum", server.result["sum"], [sum(column) % 2**self.p.ring_bits for column in zip(*inputs)])
        for c in self.clients:
            last = self.last[c.index]
            same("leaves", c.v["leaves"], "never" if last == "unmask" else STEPS[STEPS.index(last) + 1])


# One function for each format.
def check_rounds(v, folder):
    for item in v["rounds"]:
        Round(item).check()
    return f"{len(v['rounds'])} rounds"


def check_bad(v, folder):
    for item in v["vectors"]:
        base = Round(json.loads((folder / item["file"]).read_text())["rounds"][item["round"]])
        base.run(item["after"])
        found = None
        for position, event in enumerate(item["messages"]):
            if found:
                raise Wrong(f"{item['name']}: message {position - 1} is refused with {found}")
            try:
                base.deliver(event, event["message"], event.get("input"))
            except Refused as refusal:
                found = refusal.error
        same(item["name"], found, item["error"])
    return f"{len(v['vectors'])} refusals"


def check_shamir(v, folder):
    same("order", v["order"], scalar_bytes(L).hex())
    for case in v["cases"]:
        f = [scalar(un(c)) for c in case["coefficients"]]
        same("threshold", case["threshold"], len(f))
        shares = {s["x"]: scalar(un(s["share"])) for s in case["shares"]}
        same("shares", shares, {x: evaluate(f, x) for x in shares})
        for recovery in case["recoveries"]:
            same("points", len(recovery["xs"]), len(f))
            secret = interpolate([(x, shares[x]) for x in recovery["xs"]])
            same("secret", (scalar(un(recovery["secret"])), f[0]), (secret, secret))
    return f"{len(v['cases'])} sharings"


def check_key_streams(v, folder):
    seed = un(v["seed"])
    for c in v["chunks"]:
        data = STREAMS[c["suite"]](seed, c["chunk"], CHUNK)
        same("chunk", [c["first"], c["last"], c["blake2b_256"]], [data[:32].hex(), data[-32:].hex(), blake(data).hex()])
    for m in v["masks"]:
        words = mask_words(m["suite"], seed, m["ring_bits"], m["dimension"])
        same("mask", [m["first"], m["last"], m["blake2b_256_of_packed"]],
             [words[:3], words[-4:], blake(b"".join(pack(words[i:i + 8], m["ring_bits"])
                                                    for i in range(0, len(words), 8))).hex()])
    return f"{len(v['chunks'])} chunks, {len(v['masks'])} masks"


def check_hashing(v, folder):
    key, sid = un(v["key"]), un(v["sid"])
    for f in v["framings"]:
        parts = [un(part) for part in f["parts"]]
        data = framed(f["domain"], *parts)
        same("framing", [f["framed"], f["hash"], f["keyed_hash"], f["streaming"]],
             [data.hex(), blake(data).hex(), blake(data, key).hex(),
              blake(framed(f["domain"]) + b"".join(parts)).hex()])
    for item in v["indices"]:
        same("indices", un(item["digest"]), index_digest(item["indices"]))
    for item in v["input_digests"]["list"]:
        data = bytes(i % 251 for i in range(item["count"]))
        same("input digest", un(item["digest"]), input_digest(data))

    def field(name, i):
        return h("vectors", name.encode(), num(i)).hex()

    def member(i):
        return {"id": field("id", i), "share_key": field("C", i), "mask_key": field("U", i),
                "seed_commitment": field("B", i), "signature": field("r", i) + field("s", i)}
    for item in v["groups"]["list"]:
        count = item["groups"]
        same("groups", item["group_of_member"], [
            int.from_bytes(h("group", sid, un(member(i)["id"]))[:8], "little") * count >> 64 for i in range(12)])
        same("group sids", item["sids"], [h("group-session", sid, num(count), num(g)).hex() for g in range(count)])
    for tree in v["members"]["trees"]:
        members = [member(i) for i in range(tree["count"])]
        leaves = [leaf(m) for m in members]
        same("leaves", tree["leaves"], [value.hex() for value in leaves])
        top = tree_hashes(leaves, [])[0]
        same("top", (un(tree["top"]), un(tree["root"])), (top, roster_root(sid, [m["id"] for m in members], top)))
        for opening in tree["openings"]:
            same("opening", opening["hashes"], [x.hex() for x in tree_hashes(leaves, opening["indices"])[1]])
            opened = {i: leaves[i] for i in opening["indices"]}
            same("opened top", opened_top(opened, opening["hashes"], tree["count"]), top)
    return f"{len(v['framings'])} framings, {len(v['members']['trees'])} trees"


def check_ring(v, folder):
    for p in v["packings"]:
        bits, words, packed = p["ring_bits"], p["words"], un(p["packed"])
        same("packed", (packed, unpack(packed, bits, len(words))), (pack(words, bits), words))
        same("centred", p["centred"], centred(words, bits))
    for p in v["refused"]:
        try:
            unpack(un(p["packed"]), p["ring_bits"], p["dimension"])
            raise Wrong("a bad vector is accepted")
        except Refused as refusal:
            same("refusal", refusal.error["case"], p["error"])
    return f"{len(v['packings'])} packings"


def log_choose(n, k):
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1) if 0 <= k <= n else -math.inf


def log_sum(terms):
    top = max(terms, default=-math.inf)
    return top if top == -math.inf else top + math.log(math.fsum(math.exp(t - top) for t in terms))


def hypergeometric(n, k, marked, counts, times=None):
    """log2 of n (or so many) times the probability of so many marked among k neighbours."""
    terms = [log_choose(marked, i) + log_choose(n - 1 - marked, k - i) - log_choose(n - 1, k) for i in counts]
    return log_sum(terms) / math.log(2) + math.log2(times or n)


@functools.lru_cache(None)
def failures(n, k, t, corrupt, dropped, server=True):
    """log2 of the failures of privacy and of separation, c, and rho."""
    c = next(c for c in range(k + 1) if hypergeometric(n, k, corrupt, range(c + 1, k + 1)) <= -41)
    privacy = hypergeometric(n, k, corrupt, range(t, k + 1))
    least = max(1, t - c + 1)
    d = min(dropped, n - corrupt - 2 * least)
    rest = n - corrupt - d
    ways = log_choose(n - corrupt, d) if server else 0
    parts = log_sum([
        ways + log_choose(rest, s) + k * s * math.log1p(-(rest - s) / (n - 1))
        + k * (rest - s) * math.log1p(-s / (n - 1)) for s in range(least, rest // 2 + 1)]) if d >= 0 else -math.inf
    parts /= math.log(2)
    if not server or parts > -41:
        return privacy, parts, c, 0
    one, isolatable = one_set(n, k, max(0, t - c), corrupt, dropped)
    return privacy, max(parts, one), c, isolatable


def one_set(n, k, needed, corrupt, dropped):
    """log2 of the union bound over sets that keep their draws to themselves, and rho."""
    rest, total = n - corrupt - dropped, -math.inf
    for s in range(needed + 1, rest):
        sets = log_choose(n - corrupt, s)
        leaving = sets + log_choose(n - corrupt - s, dropped) + k * s * math.log1p(-(rest - s) / (n - 1))
        staying = math.inf  # of no interest where the other is below 2^-69
        if leaving > -41 * math.log(2) - 20:
            staying = sets + s * math.log(2) * hypergeometric(n, k, s - 1, range(needed, k + 1), times=1)
        more = log_sum([total, min(leaving, staying)])
        if more / math.log(2) > -41:
            isolatable = rest - s
            return (total / math.log(2), isolatable) if isolatable * 10 <= rest else (0, rest)
        total = more
    return total / math.log(2), 0


@functools.lru_cache(None)
def sparse_parameters(n, gamma, delta, chosen, adversary):
    """Section 3, tried degree by degree; a text names why there are none."""
    chosen = max(chosen, delta)
    corrupt, alive, dropped = n * gamma // 1000, n - n * delta // 1000, n * chosen // 1000
    quorum = (n + corrupt) // 2 + 1
    if gamma > 333 or delta > 333 or chosen > 500:
        return "fractionOutOfRange"
    if alive < quorum:
        return "quorumUnreachable"
    for k in range(2, n, 2):
        t = max((t for t in range(2, k + 1) if hypergeometric(n, k, alive - 1, range(t + 1)) <= -20), default=0)
        if t == 0:
            continue
        privacy, separation, c, isolatable = failures(n, k, t, corrupt, dropped, adversary == "server")
        if t > c and privacy <= -41 and separation <= -41:
            return {"degree": k, "shares_needed": t, "in_degree_cap": min(n - 1, k + math.isqrt(64 * k)),
                    "quorum": quorum, "survivor_floor": n - dropped, "isolatable": isolatable,
                    "log2_privacy": privacy,
                    "log2_correctness": hypergeometric(n, k, alive - 1, range(t)), "log2_separation": separation}
    return "noSparseGraph"


def check_graph_parameters(v, folder):
    for item in v["sparse"]:
        found = sparse_parameters(item["cohort"], item["corrupt_permille"], item["dropout_permille"],
                                  item["chosen_dropout_permille"], item["adversary"])
        if isinstance(found, str):
            same("error", item["error"], found)
            continue
        for name, value in found.items():
            if name.startswith("log2"):
                value, noted = min(value, 0), -math.inf if item[name] is None else item[name]
                if value != noted and abs(value - noted) > 0.002:
                    raise Wrong(f"{name}: {noted} instead of {value}")
            else:
                same(name, item[name], value)
    for item in v["checked"]:
        n = item["cohort"]
        failure = failures(n, item["degree"], item["shares_needed"], n * item["corrupt_permille"] // 1000,
                           n * item["chosen_dropout_permille"] // 1000)
        same("protects", item["protects"], int(max(failure[:2]) <= -41))
    for item in v["complete"]:
        n = item["cohort"]
        same("complete", (item["shares_needed"], item["quorum"]),
             (2 * n // 3 + 1, (n + n * item["corrupt_permille"] // 1000) // 2 + 1))
    for item in v["quorum_samples"]:
        same("sample", item["sample"], sample_size(item["claimed"], item["quorum"], item["cohort"]))
    return f"{len(v['sparse'])} sparse graphs, {len(v['quorum_samples'])} samples"


CHECKS = {f"accord/secagg/1/{name}": check for name, check in (
    ("rounds", check_rounds), ("bad", check_bad), ("shamir", check_shamir), ("key-streams", check_key_streams),
    ("hashing", check_hashing), ("ring", check_ring), ("graph-parameters", check_graph_parameters))}

# Not derived from anything else: comments, what a search was asked for, and vectors that are bad already.
UNCHECKED = {"comment", "refused", "cohort", "corrupt_permille", "dropout_permille", "chosen_dropout_permille",
             "adversary", "claimed", "quorum", "checked"}


def fields(value, path=()):
    """The paths to all numbers and texts."""
    if isinstance(value, (dict, list)):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from fields(inner, path + (key,))
    else:
        yield path


def changed(value, draw):
    if not isinstance(value, str):
        return 0 if value is None else value + 1
    try:
        data = bytearray(un(value))
        data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
        return data.hex()
    except (ValueError, IndexError):
        return value[:-1] + chr(ord(value[-1:] or "@") ^ 1)


def self_test(v, folder, draw, each=2):
    """Changes fields of a good file: every kind of field `each` times, at places drawn at random."""
    parts = [{**v, "rounds": [r]} for r in v["rounds"]] if "rounds" in v else [v]
    counts, missed = [0, 0], []
    for part in parts:
        CHECKS[part["format"]](part, folder)  # unchanged, it is accepted
        skipped = {"comment"} if "rounds" in v else UNCHECKED if "sparse" in v else {"comment", "refused"}
        kinds = {}
        for path in fields(part):
            if not skipped & set(path):
                kinds.setdefault(tuple(key for key in path if isinstance(key, str)), []).append(path)
        for paths in kinds.values():
            for path in draw.sample(paths, min(each, len(paths))):
                bad = copy.deepcopy(part)
                inner = functools.reduce(lambda value, key: value[key], path[:-1], bad)
                inner[path[-1]] = changed(inner[path[-1]], draw)
                try:
                    CHECKS[bad["format"]](bad, folder)
                    missed.append("/".join(map(str, path)))
                except (Wrong, Refused):
                    counts[0] += 1
                except Exception:
                    counts[1] += 1
    return counts, missed


def main(arguments):
    testing = "--self-test" in arguments
    places = [a for a in arguments if not a.startswith("-")]
    folder = Path(places[0]) if places else Path(__file__).resolve().parent / "vectors"
    files = sorted(folder.glob("*.json"))
    failed, draw, noticed, unreadable, missed = not files, random.Random(1), 0, 0, []
    for path in files:
        try:
            v = json.loads(path.read_text())
            print(f"ok    {path.name}: {CHECKS[v['format']](v, folder)}")
            if testing and not v["format"].endswith("/bad"):
                counts, left = self_test(v, folder, draw)
                noticed, unreadable = noticed + counts[0], unreadable + counts[1]
                missed += [f"{path.name} {m}" for m in left]
        except Exception as error:
            failed = True
            print(f"WRONG {path.name}: {type(error).__name__}: {error}")
    if not files:
        print(f"no vectors in {folder}")
    if testing:
        print(f"self-test: {noticed + unreadable} of {noticed + unreadable + len(missed)} changes noticed: "
              f"{noticed} disagree with the protocol, {unreadable} cannot be read", *missed, sep="\n  ")
    return 1 if failed or missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
