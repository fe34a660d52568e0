#!/usr/bin/env python3
"""Checks a consent ledger from outside, written from CONSENT-LEDGER.md alone.

    verify_ledger.py export DIR|URL [--keys keys.json] [--since CHECKPOINT_FILE]
    verify_ledger.py proof FILE.tlog-proof --keys keys.json
    verify_ledger.py package DIR|ZIP [--keys keys.json]
    verify_ledger.py --self-test [EXPORT_DIR|PACKAGE]     flips every byte of every file, each must be noticed
    verify_ledger.py --make-sample DIR                    a small export, a receipt and a package

Needs PyNaCl (Debian: python3-nacl). Keys that were not pinned with --keys are taken from what is checked: then
it is consistent in itself, and whoever made it may have made the keys. Exit code 0: all is as it should be,
1: something is wrong (the first bad entry is named), 2: nothing could be checked.
"""
import base64
import functools
import hashlib
import io
import json
import re
import struct
import sys
import urllib.error
import urllib.request
import zipfile
from pathlib import Path

from nacl import bindings as sodium

LAST_MS = 253_402_300_799_999  # the end of the year 9999
CLOCK_SKEW_MS = 300_000
MAXIMUM_LEAF = 60_000
MAXIMUM_SIZE = 2**48
MAXIMUM_FILE = 256 * (MAXIMUM_LEAF + 2) + 2**26


class Bad(Exception):
    """What is wrong, and where."""


class Unusable(Exception):
    """Nothing can be checked."""


def need(condition, why):
    if not condition:
        raise Bad(why)


# Notation and hashes.
def framed(domain, *parts):
    return b"".join(struct.pack("<Q", len(part)) + part for part in (domain.encode(), *parts))


def sha(data):
    return hashlib.sha256(data).digest()


def leaf_hash(leaf):
    return sha(b"\0" + leaf)


def node_hash(left, right):
    return sha(b"\1" + left + right)


def tree_root(hashes):
    """RFC 6962, 2.1: a last node without sibling moves up as it is."""
    if not hashes:
        return sha(b"")
    while len(hashes) > 1:
        hashes = [node_hash(*hashes[i:i + 2]) if i + 1 < len(hashes) else hashes[i]
                  for i in range(0, len(hashes), 2)]
    return hashes[0]


def path_root(leaf, index, size, path):
    """RFC 9162, 2.1.3.2: the root that an inclusion path leads to; None if the path does not fit."""
    if not 0 <= index < size:
        return None
    last = size - 1
    for sibling in path:
        if last == 0:
            return None
        if index & 1 or index == last:
            leaf = node_hash(sibling, leaf)
            while index and not index & 1:
                index, last = index >> 1, last >> 1
        else:
            leaf = node_hash(leaf, sibling)
        index, last = index >> 1, last >> 1
    return leaf if last == 0 else None


@functools.lru_cache(65_536)
def verifies(public, signature, message):
    try:
        return sodium.crypto_sign_open(signature + message, public) == message
    except Exception:
        return False


def unbase64(text, count=None):
    """Strict base64; `count` bytes if it is given."""
    try:
        data = base64.b64decode(text, validate=True)
    except Exception:
        raise Bad("not base64") from None
    need(base64.b64encode(data).decode() == text and count in (None, len(data)), "not canonical base64")
    return data


# Section 1: canonical JSON.
def encode(value):
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return re.sub(r"\.0$", "", repr(value))
    if isinstance(value, str):
        need(not re.search(r"[\0-\x1f\x7f]", value), "a text holds control characters")
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    if isinstance(value, list):
        return "[" + ",".join(map(encode, value)) + "]"
    need(isinstance(value, dict), "null in canonical JSON")
    return "{" + ",".join(encode(name) + ":" + encode(value[name]) for name in sorted(value)) + "}"


def canonical(value):
    try:
        return encode(value).encode()
    except (UnicodeEncodeError, RecursionError):
        raise Bad("cannot be written as canonical JSON") from None


def read_json(data, what):
    def refuse(name):
        raise ValueError(name)
    try:
        return json.loads(data.decode(), parse_constant=refuse)
    except (ValueError, RecursionError) as error:
        raise Bad(f"{what} is not JSON: {error}") from None


def decode(data, what):
    """Reads canonical JSON: other bytes for the same value are refused."""
    value = read_json(data, what)
    need(canonical(value) == data, f"{what} is not canonical JSON")
    return value


# Section 2: what stands in a content. A field's rule says what is wrong with a value, or nothing.
def text(most):
    return lambda v: (None if isinstance(v, str) and len(v.encode(errors="surrogatepass")) <= most
                      else f"no text of up to {most} bytes")


def digits(count):
    form = re.compile(f"[0-9a-f]{{{count}}}")
    return lambda v: None if isinstance(v, str) and form.fullmatch(v) else f"not {count} hex digits"


def number(low, high):
    return lambda v: None if type(v) is int and low <= v <= high else f"no number from {low} to {high}"


def one(words):
    return lambda v: None if isinstance(v, str) and v in words.split() else f"not one of: {words}"


def loss(most):
    return lambda v: None if type(v) in (int, float) and 0 <= v <= most else "no number in range"


def table(v):
    return None if isinstance(v, dict) else "no table"


def many(rule, most):
    return lambda v: (next(filter(None, map(rule, v)), None) if isinstance(v, list) and len(v) <= most
                      else f"no list of up to {most}")


TIME, HASH, ID, COUNT = number(0, LAST_MS), digits(64), digits(32), number(0, MAXIMUM_SIZE)
STATES = ("requested given renewed refused deferred request-expired withdrawn expired invalidated revoked superseded "
          "restricted restriction-lifted objected opted-out global-privacy-control erased")
NODES = {"store", "device"}
KINDS = {  # kind: (who signs it, the field that is its identity, its fields)
    "consent": (NODES, "event_id", {
        "actor": one("customer guardian agent controller authority system"),
        "age_band": one("unknown under-13 13 14 15 16-17 adult"), "ask_again?": TIME, "channel": text(64),
        "commitment?": HASH, "consent_type": one("explicit expressed implied none"), "duration_ms?": COUNT,
        "event_id": ID, "expires_at?": TIME, "jurisdiction": text(16), "language?": text(35), "legal_basis": text(64),
        "method": text(64), "not_before?": TIME, "notice?": HASH, "policy?": HASH, "previous?": ID, "purpose": text(64),
        "purpose_version": number(0, 10**6), "record_id": ID, "recorder": text(128),
        "regime": one("opt-in opt-out prohibited"), "screen?": HASH, "state": one(STATES), "steps?": COUNT,
        "subject": HASH, "time": TIME}),
    "enrolment": ("operator", "key", {
        "key": HASH, "kind": one("store device server officer"), "name": text(64), "valid_from": TIME}),
    "revocation": ("operator", "key", {"key": HASH, "reason": text(512), "time": TIME}),
    "policy": ({"officer"}, None, {"document": table, "time": TIME}),
    "approval": ({"officer"}, "id", {
        "action": one("policy erasure key-rotation"), "id": ID, "target": HASH, "text": text(512), "time": TIME}),
    "request": (NODES | {"officer"}, "event_id", {
        "action": one("received acknowledged extended completed denied"), "basis?": text(512), "event_id": ID,
        "manner": text(64), "nature": one("access erasure rectification restriction portability objection opt-out "
                                          "limit know delete correct"),
        "regime": one("gdpr ccpa"), "request_id": ID, "response?": text(512), "subject?": HASH, "time": TIME}),
    "round": ({"server", "log"}, "session", {
        "checkpoint_age": COUNT, "checkpoint_root": HASH, "checkpoint_size": COUNT, "delta": loss(1), "dropped": COUNT,
        "ended": TIME, "epsilon": lambda v: None if v == "inf" else loss(float("inf"))(v), "evidence_root?": HASH,
        "evidence_roots": many(HASH, 128), "kind": text(64), "mechanism": text(512), "model_in?": HASH,
        "model_out?": HASH, "noised_eligible?": number(-MAXIMUM_SIZE, MAXIMUM_SIZE), "participants": COUNT,
        "policy?": HASH, "purpose": text(64), "purpose_version": number(1, 10**6),
        "result": lambda v: None if isinstance(v, str) and (v == "completed" or v.startswith("aborted: "))
        and len(v.encode()) <= 512 else "neither completed nor aborted",
        "round": COUNT, "session": text(128), "started": TIME, "survivors": COUNT, "task": text(128),
        "transcript?": HASH, "unit": text(64)}),
    "notice": (NODES | {"server", "officer", "log"}, "id", {
        "id": ID, "kind": text(64), "text": text(8192), "time": TIME}),
}


def check_fields(value, rules, what):
    need(isinstance(value, dict), f"{what} is no table")
    names = {name.rstrip("?") for name in rules}
    for name in value:
        need(name in names, f"{what} has the unknown field {name[:40]}")
    for name, rule in rules.items():
        if name.endswith("?") and name[:-1] not in value:
            continue
        name = name.rstrip("?")
        need(name in value, f"{what} has no {name}")
        why = rule(value[name])
        need(not why, f"{name} of {what} is {why}")


# Section 1: the leaf is proof by itself that its signer said it.
def read_leaf(data):
    need(len(data) <= MAXIMUM_LEAF, f"it has {len(data)} bytes, more than {MAXIMUM_LEAF}")
    entry = decode(data, "it")
    check_fields(entry, {
        "batch?": table, "content": table, "kind": one(" ".join(KINDS)),
        "recorded": TIME, "signature": digits(128), "signer": HASH}, "it")
    kind, content = entry["kind"], entry["content"]
    check_fields(content, KINDS[kind][2], "its content")
    root, size = leaf_hash(framed(f"accord ledger {kind} v2", canonical(content))), 1
    if "batch" in entry:
        batch = entry["batch"]
        check_fields(batch, {"index": number(0, 255), "path": text(8192), "size": number(2, 256)}, "its batch")
        path, size = unbase64(batch["path"]), batch["size"]
        need(len(path) % 32 == 0, "its path is no list of hashes")
        root = path_root(root, batch["index"], size, [path[i:i + 32] for i in range(0, len(path), 32)])
        need(root, "its path does not fit to its batch")
    message = framed("accord ledger batch v2", bytes.fromhex(entry["signer"]), root, struct.pack("<Q", size))
    need(verifies(bytes.fromhex(entry["signer"]), bytes.fromhex(entry["signature"]), message),
         "it was changed or is not its signer's: the signature is wrong")
    if kind == "consent":
        grant = content["state"] in ("given", "renewed")
        need(grant or "expires_at" not in content, "a denial has expires_at")
        need(not grant or "policy" in content, "a grant names no policy")
        every = content["purpose"] == "*"
        need(every == (content["purpose_version"] == 0), "version 0 and * belong together")
        need(not (grant and every), "a grant for every purpose")
    if kind == "round" and content["evidence_roots"]:
        roots = content["evidence_roots"]
        need(roots == sorted(set(roots)), "its evidence roots are not ascending")
    return entry


class Rules:
    """Who may write what after what is in the log, and what has to be there once."""
    def __init__(self, operator, log_key):
        self.operator, self.log_key, self.recorded = operator, log_key, 0
        self.kinds, self.enrolled, self.seen, self.policies = {}, {}, set(), {}
        self.current, self.counts, self.warnings, self.approvals = None, {}, [], {}

    def admit(self, index, entry):
        kind, content, signer = entry["kind"], entry["content"], entry["signer"]
        self.counts[kind] = self.counts.get(kind, 0) + 1
        need(entry["recorded"] >= self.recorded, "it was recorded before the entry before it")
        self.recorded = entry["recorded"]
        need(content.get("time", 0) <= self.recorded + CLOCK_SKEW_MS, "its time is more than 300 s ahead of recorded")
        who, field, _ = KINDS[kind]
        self.unique(kind, content[field] if field else sha(canonical(content["document"])).hex())
        if who == "operator":
            need(signer == self.operator, "it is not signed by the operator")
        else:
            role = "log" if signer == self.log_key else self.kinds.get(signer)
            need(role in who, f"its signer is no {' or '.join(sorted(who))} enrolled at this place")
        getattr(self, kind, lambda *_: None)(index, content, signer)

    def unique(self, kind, identity):
        direct = kind in ("consent", "request", "approval", "notice")
        key = bytes.fromhex(identity) if direct else sha(f"{kind} {identity}".encode())[:16]
        need(key not in self.seen, f"its identity {identity} is in the log already")
        self.seen.add(key)

    def enrolment(self, index, content, signer):
        self.kinds[content["key"]] = self.enrolled[content["key"]] = content["kind"]

    def revocation(self, index, content, signer):
        need(self.kinds.pop(content["key"], None), "it revokes a key that is not enrolled")

    def policy(self, index, content, signer):
        document = content["document"]
        purposes = document.get("purposes")
        need({"id", "version", "controller", "establishment", "limits", "purposes"} <= document.keys()
             and isinstance(purposes, list) and all(isinstance(p, dict) for p in purposes), "its document is no policy")
        self.policies[sha(canonical(document)).hex()] = {"proposer": signer, "document": document, "from": None}

    def approval(self, index, content, signer):
        self.approvals.setdefault((content["action"], content["target"]), set()).add(signer)
        policy = self.policies.get(content["target"])
        if content["action"] == "policy" and policy and policy["proposer"] != signer and policy["from"] is None:
            policy["from"], self.current = index, content["target"]

    def consent(self, index, content, signer):
        document = self.policies[self.current]["document"] if self.current else {}
        if content["state"] in ("given", "renewed"):
            need(self.current, "a grant while no policy is in force (a policy needs the approval of a second officer)")
            need(content["policy"] == self.current, "a grant under another policy than the one in force")
            versions = [p.get("version") for p in document["purposes"] if p.get("id") == content["purpose"]]
            need(versions == [content["purpose_version"]], "a grant for a purpose or version that the policy has not")
        if content["state"] == "erased" and "erasure" in document.get("two_person_actions", []):
            if len(self.approvals.get(("erasure", content["subject"]), ())) < 2:
                self.warnings.append(f"entry {index}: an erasure without the approvals of two officers")


# Section 7: keys, notes and checkpoints.
NAME = re.compile(r"[^\s+\0-\x1f\x7f]{1,255}")


def note_key(line, algorithm, what):
    """name+hash+base64(algorithm and key)."""
    parts = line.split("+", 2) if isinstance(line, str) else []
    need(len(parts) == 3 and NAME.fullmatch(parts[0]), f"{what} is no verifier key")
    data = unbase64(parts[2], 33)
    need(data[0] == algorithm and parts[1] == key_id(parts[0], algorithm, data[1:]).hex(), f"{what} is no verifier key")
    return parts[0], data[1:]


def key_id(name, algorithm, key):
    return sha(name.encode() + b"\n" + bytes([algorithm]) + key)[:4]


class Keys:
    def __init__(self, data):
        keys = read_json(data, "keys.json")
        check_fields(keys, {
            "freshness": text(400), "log": text(400), "operator": HASH, "origin": text(255)}, "keys.json")
        self.origin, self.operator = keys["origin"], keys["operator"]
        name, self.log = note_key(keys["log"], 1, "log in keys.json")
        freshness, self.freshness = note_key(keys["freshness"], 4, "freshness in keys.json")
        need(name == self.origin and freshness == self.origin + "/freshness", "keys.json names keys of another log")


class Checkpoint:
    def __init__(self, data, keys):
        try:
            note = data.decode()
        except ValueError:
            raise Bad("the checkpoint is not text") from None
        need(len(data) <= 65_536 and not re.search(r"[\0-\x09\x0b-\x1f\x7f]", note) and note.endswith("\n"),
             "the checkpoint is no signed note")
        head, _, tail = note[:-1].rpartition("\n\n")
        self.text, lines, self.lines = head + "\n", head.split("\n"), []
        need(len(lines) == 3 and lines[0] == keys.origin, "the checkpoint is not of this log")
        need(re.fullmatch(r"0|[1-9][0-9]{0,15}", lines[1]) and int(lines[1]) <= MAXIMUM_SIZE,
             "the checkpoint has no size")
        self.size, self.root = int(lines[1]), unbase64(lines[2], 32)
        for line in tail.split("\n"):
            parts = line.split(" ")
            need(len(parts) == 3 and parts[0] == "—" and NAME.fullmatch(parts[1]), "a signature line is malformed")
            signature = unbase64(parts[2])
            need(len(signature) > 4, "a signature line is malformed")
            self.lines.append((parts[1], signature[:4], signature[4:]))
        need(self.signed(keys.origin, 1, keys.log), "the log has not signed the checkpoint")
        self.time = self.signed(keys.origin + "/freshness", 4, keys.freshness)
        need(self.time, "the freshness key has not signed the checkpoint")

    def signed(self, name, algorithm, key):
        """The time of signing (for the log key: True); None if there is no line by this key."""
        for line_name, identifier, signature in self.lines:
            if line_name == name and identifier == key_id(name, algorithm, key):
                prefix, when = b"", True
                if algorithm == 4:
                    when = int.from_bytes(signature[:8], "big")
                    prefix, signature = f"cosignature/v1\ntime {when}\n".encode(), signature[8:]
                need(len(signature) == 64 and verifies(key, signature, prefix + self.text.encode()),
                     f"the signature of {name} on the checkpoint is wrong")
                return when
        return None

    def witnesses(self, origin, enrolled):
        """The enrolled nodes that cosigned; a wrong cosignature of one is an error."""
        return [key for key, kind in enrolled.items() if kind != "officer"
                and self.signed(f"{origin}/witness/{key[:16]}", 4, bytes.fromhex(key))]


# Section 7: tiles.
def tile_path(level, index, width):
    name = f"{index % 1000:03}"
    while index >= 1000:
        index //= 1000
        name = f"x{index % 1000:03}/{name}"
    return f"tile/{level}/{name}" + (f".p/{width}" if width < 256 else "")


def tile_paths(size):
    """Level by level the paths of a tree's tiles with their widths."""
    levels, level = [], 0
    while size >> 8 * level:
        nodes = size >> 8 * level
        levels.append([(tile_path(level, i, min(256, nodes - 256 * i)), min(256, nodes - 256 * i))
                       for i in range(-(-nodes // 256))])
        level += 1
    return levels


class Tree:
    """The right edge of a tree: enough for the root and every tile above level 0."""
    def __init__(self):
        self.size, self.edge, self.tiles = 0, [], {}

    def append(self, node, full):
        size, level = self.size, 0
        self.size += 1
        self.keep(0, node, full)
        while size & 1:
            node, size, level = node_hash(self.edge.pop(), node), size >> 1, level + 1
            if level % 8 == 0:
                self.keep(level // 8, node, full)
        self.edge.append(node)

    def keep(self, level, node, full):
        tile = self.tiles.setdefault(level, [])
        tile.append(node)
        if len(tile) == 256:
            full(level, b"".join(tile))
            tile.clear()

    def root(self):
        if not self.edge:
            return sha(b"")
        return functools.reduce(lambda right, left: node_hash(left, right), reversed(self.edge))


class Folder:
    def __init__(self, path):
        self.root = Path(path)

    def names(self):
        return sorted(p.relative_to(self.root).as_posix() for p in self.root.rglob("*") if not p.is_dir())

    def read(self, name):
        path = self.root / name
        need(path.is_file() and not path.is_symlink(), f"{name} is missing")
        need(path.stat().st_size <= MAXIMUM_FILE, f"{name} is too large")
        return path.read_bytes()


class Memory:
    def __init__(self, files):
        self.files = files

    def names(self):
        return sorted(self.files)

    def read(self, name):
        need(name in self.files, f"{name} is missing")
        return self.files[name]


class Site:
    def __init__(self, url):
        self.url = url.rstrip("/") + "/"

    def names(self):
        return None

    def read(self, name):
        try:
            with urllib.request.urlopen(self.url + name, timeout=60) as answer:
                return answer.read(MAXIMUM_FILE)
        except urllib.error.HTTPError as error:
            raise Bad(f"{name}: the server answers {error.code}") from None
        except OSError as error:
            raise Unusable(f"{self.url}{name}: {error}") from None


def open_zip(data):
    """The files of a zip; names that occur twice or lead elsewhere are refused."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            infos = [info for info in archive.infolist() if not info.is_dir()]
            names = [info.filename for info in infos]
            need(len(names) == len(set(names)), "the zip holds a name twice")
            need(sum(info.file_size for info in infos) <= MAXIMUM_FILE, "the zip is too large")
            need(all(re.fullmatch(r"[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*", n) and ".." not in n for n in names),
                 "the zip holds names that lead elsewhere")
            return Memory({name: archive.read(name) for name in names})
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, OSError, ValueError) as error:
        raise Bad(f"the zip is malformed: {error}") from None
    except Exception as error:  # zlib.error and what else a broken archive makes of the library
        raise Bad(f"the zip is malformed: {type(error).__name__}") from None


# An export.
def read_bundle(data, width, first):
    leaves, start = [], 0
    for place in range(width):
        need(len(data) >= start + 2, f"entry {first + place}: the bundle ends before it")
        count = int.from_bytes(data[start:start + 2], "big")
        need(len(data) >= start + 2 + count, f"entry {first + place}: the bundle ends within it")
        leaves.append(data[start + 2:start + 2 + count])
        start += 2 + count
    need(start == len(data), f"entry {first + width - 1}: bytes follow it in its bundle")
    return leaves


def check_export(source, pinned=None, since=None):
    own = source.read("keys.json") if pinned is None or source.names() is not None else pinned
    need(pinned is None or Keys(own).__dict__ == Keys(pinned).__dict__, "keys.json is not the one that was pinned")
    keys = Keys(own)
    note = source.read("checkpoint")
    checkpoint = Checkpoint(note, keys)
    levels = tile_paths(checkpoint.size)
    if source.names() is not None:
        manifest = {"checkpoint": sha(note).hex(), "format": "accord-ledger-export-v1", "keys": sha(own).hex(),
                    "origin": keys.origin, "root": checkpoint.root.hex(), "size": checkpoint.size}
        need(source.read("manifest.json") == canonical(manifest), "manifest.json does not describe this export")
        wanted = {"keys.json", "checkpoint", "manifest.json"} | {path for level in levels for path, _ in level}
        wanted |= {path.replace("tile/0/", "tile/entries/") for path, _ in (levels or [[]])[0]}
        for name in set(source.names()) ^ wanted:
            raise Bad(f"{name} is {'missing' if name in wanted else 'no file of this export'}")
    older = Checkpoint(since, keys) if since is not None else None
    need(older is None or older.size <= checkpoint.size, "the older checkpoint is of a larger tree: the log was cut")

    tree, rules = Tree(), Rules(keys.operator, keys.log.hex())

    def compare(level, data):
        index = (tree.size - 1) >> 8 * (level + 1)
        path = tile_path(level, index, len(data) // 32)
        need(level == 0 or source.read(path) == data, f"{path} is not what the tile below it gives")

    def check_old():
        if older and tree.size == older.size:
            need(tree.root() == older.root, f"the first {older.size} entries are not those of the older checkpoint: "
                                            "history was changed")
    check_old()
    for number, (path, width) in enumerate(levels[0] if levels else []):
        first = 256 * number
        leaves = read_bundle(source.read(path.replace("tile/0/", "tile/entries/")), width, first)
        tile = source.read(path)
        for place, leaf in enumerate(leaves):
            try:
                need(tile[32 * place:32 * place + 32] == leaf_hash(leaf), f"its hash is not the one in {path}")
                rules.admit(first + place, read_leaf(leaf))
            except Bad as bad:
                raise Bad(f"entry {first + place}: {bad}") from None
            tree.append(leaf_hash(leaf), compare)
            check_old()
        need(len(tile) == 32 * width, f"{path} has {len(tile)} bytes instead of {32 * width}")
    for level, tile in tree.tiles.items():
        if level and tile:
            path = tile_path(level, tree.size >> 8 * (level + 1), len(tile))
            need(source.read(path) == b"".join(tile), f"{path} is not what the tile below it gives")
    need(tree.root() == checkpoint.root, "the entries do not give the checkpoint's root")
    witnesses = checkpoint.witnesses(keys.origin, rules.enrolled)
    counts = ", ".join(f"{count} {kind}" for kind, count in sorted(rules.counts.items()))
    lines = [f"{checkpoint.size} entries: {counts or 'none'}",
             f"{keys.origin}, root {checkpoint.root.hex()}, checkpoint of {checkpoint.time} s, "
             f"{len(witnesses)} witnesses, {sum(map(len, levels))} tiles",
             f"policy in force: {rules.current or 'none'}"]
    if older:
        lines.append(f"it continues the older checkpoint of {older.size} entries")
    return lines + [f"warning: {warning}" for warning in rules.warnings]


# A receipt.
def check_proof(data, keys):
    """The index, the entry and the checkpoint of a .tlog-proof."""
    try:
        lines = data.decode().split("\n")
    except ValueError:
        raise Bad("the proof is not text") from None
    need(lines[0] == "c2sp.org/tlog-proof@v1" and len(lines) > 4, "it is no c2sp.org/tlog-proof@v1")
    need(lines[1].startswith("extra ") and lines[2].startswith("index "), "it has no entry or no index")
    leaf, index = unbase64(lines[1][6:]), lines[2][6:]
    need(re.fullmatch(r"0|[1-9][0-9]{0,15}", index), "its index is no number")
    end = lines.index("", 3) if "" in lines[3:] else 0
    need(end and end - 3 <= 48, "its path is malformed")
    path = [unbase64(line, 32) for line in lines[3:end]]
    checkpoint = Checkpoint("\n".join(lines[end + 1:]).encode(), keys)
    need(path_root(leaf_hash(leaf), int(index), checkpoint.size, path) == checkpoint.root,
         "its path does not lead to the checkpoint's root: the entry is not in the log at this place")
    return int(index), read_leaf(leaf), checkpoint


# A subject access package.
DECISION = {"index": lambda v: None if v == "none" else COUNT(v), "reason": text(512), "rules": text(64)}
ROUND = {"decision": table, "path": text(8192), "position": COUNT, "roots?": many(HASH, 100_000), "salt": HASH,
         "session": text(128), "size": COUNT, "tag": HASH}


def check_package(source, pinned=None):
    own = source.read("keys.json")
    need(pinned is None or Keys(own).__dict__ == Keys(pinned).__dict__, "keys.json is not the one that was pinned")
    keys = Keys(own)
    data = source.read("manifest.json")
    manifest = decode(data, "manifest.json")
    check_fields(manifest, {"created": TIME, "files": table, "format": one("accord-subject-package-v1"),
                            "origin": text(255), "signer": HASH}, "manifest.json")
    signature = source.read("manifest.sig")
    need(re.fullmatch(rb"[0-9a-f]{128}", signature) and verifies(
        bytes.fromhex(manifest["signer"]), bytes.fromhex(signature.decode()), framed("accord manifest v1", data)),
        "manifest.sig is not the signature of manifest.json")
    names = set(source.names()) - {"manifest.json", "manifest.sig"}
    for name in names ^ manifest["files"].keys():
        raise Bad(f"{name} is {'not in the manifest' if name in names else 'missing'}")
    for name, digest in manifest["files"].items():
        need(sha(source.read(name)).hex() == digest, f"{name} was changed: manifest.json has another SHA-256")
    need(manifest["origin"] == keys.origin, "manifest.json names another log")

    def proof(name):
        try:
            return check_proof(source.read(name), keys)
        except Bad as bad:
            raise Bad(f"{name}: {bad}") from None
    _, entry, _ = proof("enrolment.tlog-proof")
    content = entry["content"]
    need(entry["kind"] == "enrolment" and entry["signer"] == keys.operator and content["key"] == manifest["signer"]
         and content["kind"] != "officer", "enrolment.tlog-proof does not enrol the node that signed the manifest")
    summary = read_json(source.read("summary.json"), "summary.json")
    rounds = decode(source.read("rounds.json"), "rounds.json")
    need(isinstance(summary, dict), "summary.json is no table")
    subject, events = summary.get("subject"), summary.get("events")
    need(HASH(subject) is None and isinstance(events, list) and not any(map(COUNT, events))
         and events == sorted(set(events)), "summary.json has no subject or no ascending list of events")
    found = {name for name in names if name.startswith("events/")}
    need(found == {f"events/{index}.tlog-proof" for index in events}, "events/ and summary.json differ")
    notices = set()
    for index in events:
        place, entry, _ = proof(f"events/{index}.tlog-proof")
        need(place == index and entry["kind"] in ("consent", "request") and entry["content"].get("subject") == subject,
             f"events/{index}.tlog-proof is no event of this subject at {index}")
        notices |= {entry["content"]["notice"]} if "notice" in entry["content"] else set()
    need(isinstance(rounds, list), "rounds.json is no list")
    for number, opening in enumerate(rounds):
        check_fields(opening, ROUND, f"rounds.json[{number}]")
        check_opening(opening, subject, events, proof)
    found = {name for name in names if name.startswith("rounds/")}
    need(found == {f"rounds/{opening['session']}.tlog-proof" for opening in rounds}, "rounds/ and rounds.json differ")
    shown = [name for name in names if name.startswith("notices/")]
    for name in shown:
        match = re.fullmatch(r"notices/([0-9a-f]{64})\.(txt|html)", name)
        need(match and sha(source.read(name)).hex() == match[1], f"{name} is not the notice of this hash")
    missing = notices - {name[8:72] for name in shown}
    return [f"subject {subject}: {len(events)} events, {len(rounds)} rounds, {len(shown)} notices",
            f"signed by {content['kind']} {content['name']} ({manifest['signer']})"] + [
        f"warning: the notice {digest} is not in the package" for digest in sorted(missing)]


def check_opening(opening, subject, events, proof):
    """Section 6: the node decided this about the subject before the round."""
    name = f"rounds/{opening['session']}.tlog-proof"
    decision = opening["decision"]
    check_fields(decision, DECISION, f"the decision of {name}")
    need(opening["tag"] == subject, f"{name}: the opening is another subject's")
    _, entry, _ = proof(name)
    content = entry["content"]
    need(entry["kind"] == "round" and content["session"] == opening["session"], f"{name} is not the round's record")
    need(decision["index"] == "none" or decision["index"] in events,
         f"{name}: the deciding entry is not in the package")
    leaf = framed("accord evidence v1", bytes.fromhex(opening["salt"]), bytes.fromhex(subject),
                  str(decision["index"]).encode(), decision["reason"].encode(), decision["rules"].encode())
    path = unbase64(opening["path"])
    hashes = [path[i:i + 32] for i in range(0, len(path), 32)]
    root = path_root(leaf_hash(leaf), opening["position"], opening["size"], hashes) if len(path) % 32 == 0 else None
    roots = content["evidence_roots"]
    if not roots and "roots" in opening:
        roots = opening["roots"]
        need(roots == sorted(set(roots)) and tree_root([leaf_hash(bytes.fromhex(r)) for r in roots]).hex()
             == content.get("evidence_root"), f"{name}: the evidence roots do not give the record's")
    need(root and root.hex() in roots, f"{name}: the decision is not in the round's evidence")


# A small log with all kinds of entries, for --make-sample and --self-test. Its keys are known to everybody.
class Signer:
    def __init__(self, number):
        self.public, self.secret = sodium.crypto_sign_seed_keypair(bytes([number]) * 32)
        self.hex = self.public.hex()

    def sign(self, message):
        return sodium.crypto_sign(message, self.secret)[:64]


def merkle_path(hashes, index):
    if len(hashes) == 1:
        return []
    split = 1 << (len(hashes) - 1).bit_length() - 1
    left, right = hashes[:split], hashes[split:]
    return (merkle_path(left, index) + [tree_root(right)] if index < split
            else merkle_path(right, index - split) + [tree_root(left)])


class Sample:
    ORIGIN, START = "accord.test/log", 1_790_000_000_000

    def __init__(self):
        self.log, self.freshness, self.operator, self.stranger = map(Signer, (1, 2, 3, 9))
        self.store, self.officers, self.leaves, self.now = Signer(4), [Signer(5), Signer(6)], [], self.START
        self.device, self.server = Signer(7), Signer(8)

    def statements(self, kind, signer, *contents, recorded=0):
        """Appends the leaves of one batch."""
        items = [leaf_hash(framed(f"accord ledger {kind} v2", canonical(content))) for content in contents]
        signature = signer.sign(framed("accord ledger batch v2", bytes.fromhex(signer.hex), tree_root(items),
                                       struct.pack("<Q", len(items)))).hex()
        for index, content in enumerate(contents):
            self.now += 1000
            entry = {"content": content, "kind": kind, "recorded": self.now + recorded, "signature": signature,
                     "signer": signer.hex}
            if len(items) > 1:
                path = base64.b64encode(b"".join(merkle_path(items, index))).decode()
                entry["batch"] = {"index": index, "path": path, "size": len(items)}
            self.leaves.append(canonical(entry))

    def enrol(self, kind, signer, operator=None):
        self.statements("enrolment", operator or self.operator, {
            "key": signer.hex, "kind": kind, "name": f"the {kind}", "valid_from": self.START})

    def document(self, version=1):
        return {"controller": {"name": "Shop \"A\" \\ B"}, "establishment": "DE", "id": "shop", "limits": {},
                "purposes": [{"id": "recommendations", "version": version}],
                "two_person_actions": ["erasure", "policy"], "version": version}

    def digest(self, version=1):
        return sha(canonical(self.document(version))).hex()

    def policy(self, signer, version=1):
        self.statements("policy", signer, {"document": self.document(version), "time": self.now})

    def approve(self, signer, target, number, action="policy"):
        self.statements("approval", signer, {"action": action, "id": f"{number:032x}", "target": target,
                                             "text": "agreed: ä €", "time": self.now})

    def event(self, number, subject="aa", **changed):
        event = {"actor": "customer", "age_band": "adult", "channel": "store-till", "consent_type": "explicit",
                 "event_id": f"{number:032x}", "jurisdiction": "DE", "legal_basis": "eu-gdpr:A6-1-a",
                 "method": "signature",
                 "notice": sha(b"We would like to recommend.\n").hex(), "policy": self.digest(),
                 "purpose": "recommendations", "purpose_version": 1, "record_id": f"{1:032x}", "recorder": "till 3",
                 "regime": "opt-in", "state": "given", "subject": subject * 32, "time": self.now} | changed
        return {name: value for name, value in event.items() if value is not None}

    def opening(self):
        """Evidence of a round about two subjects."""
        salt, leaves = "5a" * 32, []
        for tag in ("aa" * 32, "bb" * 32):
            leaves.append(leaf_hash(framed("accord evidence v1", bytes.fromhex(salt), bytes.fromhex(tag), b"8",
                                           b"given", b"1")))
        path = base64.b64encode(leaves[1]).decode()
        return tree_root(leaves).hex(), {
            "decision": {"index": 8, "reason": "given", "rules": "1"}, "path": path, "position": 0, "salt": salt,
            "session": "cd" * 32, "size": 2, "tag": "aa" * 32}

    def build(self):
        self.enrol("store", self.store)
        for officer in self.officers:
            self.enrol("officer", officer)
        self.enrol("device", self.device)
        self.enrol("server", self.server)
        self.policy(self.officers[0])
        self.approve(self.officers[1], self.digest(), 100)
        self.statements("notice", self.log, {
            "id": f"{200:032x}", "kind": "heartbeat", "text": "alive", "time": self.now})
        self.statements("consent", self.store, self.event(1), self.event(2, "bb"), self.event(3, "cc", state="refused"))
        self.statements("consent", self.device, self.event(
            4, purpose="*", purpose_version=0, policy=None, state="withdrawn"))
        self.statements("request", self.store, {
            "action": "received", "event_id": f"{300:032x}", "manner": "letter", "nature": "access", "regime": "gdpr",
            "request_id": f"{301:032x}", "subject": "aa" * 32, "time": self.now})
        self.statements("round", self.server, {
            "checkpoint_age": 3, "checkpoint_root": "00" * 32, "checkpoint_size": 9, "delta": 1e-05, "dropped": 0,
            "ended": self.now, "epsilon": 8.0, "evidence_roots": [self.opening()[0]], "kind": "training",
            "mechanism": "gaussian", "participants": 2, "policy": self.digest(), "purpose": "recommendations",
            "purpose_version": 1, "result": "completed", "round": 1, "session": "cd" * 32, "started": self.now,
            "survivors": 2, "task": "task-1", "unit": "user"})
        self.statements("revocation", self.operator, {"key": self.device.hex, "reason": "lost", "time": self.now})
        for number, officer in enumerate(self.officers):
            self.approve(officer, "bb" * 32, 400 + number, "erasure")
        self.statements("consent", self.store, self.event(5, "bb", state="erased", policy=None))
        return self

    def keys(self):
        def key(name, algorithm, signer):
            data = base64.b64encode(bytes([algorithm]) + signer.public).decode()
            return f"{name}+{key_id(name, algorithm, signer.public).hex()}+{data}"
        return canonical({"freshness": key(self.ORIGIN + "/freshness", 4, self.freshness),
                          "log": key(self.ORIGIN, 1, self.log), "operator": self.operator.hex, "origin": self.ORIGIN})

    def checkpoint(self, size=None):
        hashes = [leaf_hash(leaf) for leaf in self.leaves[:size]]
        text = f"{self.ORIGIN}\n{len(hashes)}\n{base64.b64encode(tree_root(hashes)).decode()}\n"
        note, seconds = text + "\n", self.now // 1000
        for name, algorithm, signer in ((self.ORIGIN, 1, self.log), (self.ORIGIN + "/freshness", 4, self.freshness),
                                        (f"{self.ORIGIN}/witness/{self.store.hex[:16]}", 4, self.store)):
            time = seconds.to_bytes(8, "big") if algorithm == 4 else b""
            prefix = f"cosignature/v1\ntime {seconds}\n" if algorithm == 4 else ""
            data = key_id(name, algorithm, signer.public) + time + signer.sign((prefix + text).encode())
            note += f"— {name} {base64.b64encode(data).decode()}\n"
        return note.encode()

    def export(self):
        note, keys, files = self.checkpoint(), self.keys(), {}

        def full(level, data):
            files[tile_path(level, (tree.size - 1) >> 8 * (level + 1), len(data) // 32)] = data
        tree = Tree()
        for leaf in self.leaves:
            tree.append(leaf_hash(leaf), full)
        for level, tile in tree.tiles.items():
            if tile:
                files[tile_path(level, tree.size >> 8 * (level + 1), len(tile))] = b"".join(tile)
        for index in range(0, len(self.leaves), 256):
            part = self.leaves[index:index + 256]
            files[tile_path(0, index // 256, len(part)).replace("tile/0/", "tile/entries/")] = b"".join(
                len(leaf).to_bytes(2, "big") + leaf for leaf in part)
        manifest = {"checkpoint": sha(note).hex(), "format": "accord-ledger-export-v1", "keys": sha(keys).hex(),
                    "origin": self.ORIGIN, "root": tree.root().hex(), "size": tree.size}
        return files | {"checkpoint": note, "keys.json": keys, "manifest.json": canonical(manifest)}

    def proof(self, index):
        path = merkle_path([leaf_hash(leaf) for leaf in self.leaves], index)
        lines = ["c2sp.org/tlog-proof@v1", "extra " + base64.b64encode(self.leaves[index]).decode(), f"index {index}",
                 *(base64.b64encode(node).decode() for node in path), "", ""]
        return "\n".join(lines).encode() + self.checkpoint()

    def package(self):
        notice = b"We would like to recommend.\n"
        events = [i for i, leaf in enumerate(self.leaves) if json.loads(leaf)["content"].get("subject") == "aa" * 32]
        files = {"summary.json": canonical({"events": events, "subject": "aa" * 32}), "keys.json": self.keys(),
                 "rounds.json": canonical([self.opening()[1]]), "enrolment.tlog-proof": self.proof(0),
                 f"rounds/{'cd' * 32}.tlog-proof": self.proof(13), f"notices/{sha(notice).hex()}.txt": notice}
        files |= {f"events/{index}.tlog-proof": self.proof(index) for index in events}
        manifest = canonical({"created": self.now, "files": {name: sha(data).hex() for name, data in files.items()},
                              "format": "accord-subject-package-v1", "origin": self.ORIGIN, "signer": self.store.hex})
        return files | {"manifest.json": manifest,
                        "manifest.sig": self.store.sign(framed("accord manifest v1", manifest)).hex().encode()}


def forgeries():
    """What a log that signs anything could hold: (what is expected to be said, how the log is made)."""
    consent = lambda signer, **fields: lambda s: s.statements("consent", getattr(s, signer), s.event(900, **fields))
    yield "enrolled at this place", consent("stranger")
    yield "enrolled at this place", consent("device")
    yield "enrolled at this place", consent("server")
    yield "enrolled at this place", lambda s: s.statements("consent", s.officers[0], s.event(900))
    yield "enrolled at this place", lambda s: s.policy(s.store, 2)
    yield "by the operator", lambda s: s.enrol("store", s.stranger, s.stranger)
    yield "in the log already", lambda s: s.enrol("store", s.store)
    yield "in the log already", lambda s: s.statements("consent", s.store, s.event(1, state="refused"))
    yield "in the log already", lambda s: s.policy(s.officers[1])
    yield "in the log already", lambda s: s.statements("consent", s.store, s.event(300))
    yield "recorded before", lambda s: s.statements("consent", s.store, s.event(900), recorded=-5000)
    yield "300 s ahead", lambda s: s.statements("consent", s.store, s.event(900, time=s.now + 302_000))
    yield "another policy", consent("store", policy="11" * 32)
    yield "names no policy", consent("store", policy=None)
    yield "purpose or version", consent("store", purpose="ads")
    yield "purpose or version", consent("store", purpose_version=2)
    yield "every purpose", consent("store", purpose="*", purpose_version=0)
    yield "belong together", consent("store", purpose_version=0)
    yield "expires_at", consent("store", state="refused", expires_at=1)
    yield "subject of its content", consent("store", subject="AA")
    yield "unknown field", consent("store", extra=1)
    yield "state of its content", consent("store", state="maybe")
    yield "not enrolled", lambda s: s.statements("revocation", s.operator, {
        "key": s.stranger.hex, "reason": "", "time": s.now})
    yield "another policy", lambda s: (s.policy(s.officers[0], 2), s.approve(s.officers[1], s.digest(2), 901),
                                       s.statements("consent", s.store, s.event(900)))
    yield None, lambda s: (s.policy(s.officers[0], 2), s.approve(s.officers[0], s.digest(2), 901),
                           s.statements("consent", s.store, s.event(900)))
    yield "warning", lambda s: s.statements("consent", s.store, s.event(900, "cc", state="erased", policy=None))
    yield "signature is wrong", lambda s: s.leaves.append(s.leaves[-1].replace(b"till 3", b"till 4"))
    yield "not canonical", lambda s: s.leaves.append(s.leaves[-1].replace(b'"kind"', b' "kind"'))
    yield "not canonical", lambda s: s.leaves.append(s.leaves[-1].replace(b'"till 3"', b'"till\\u00203"'))
    yield "control characters", lambda s: s.leaves.append(s.leaves[-1].replace(b'"till 3"', b'"till\\n3"'))
    yield "not JSON", lambda s: s.leaves.append(b"{")
    yield "more than 60000", lambda s: s.leaves.append(b" " * 60_001)


def self_test(place):
    missed, noticed, unnamed = [], 0, 0

    def flip(name, files, check):
        nonlocal noticed, unnamed
        check(Memory(files))
        for path, data in files.items():
            for index in range(len(data)):
                changed = data[:index] + bytes([data[index] ^ 1 << index % 8]) + data[index + 1:]
                try:
                    check(Memory({**files, path: changed}))
                    missed.append(f"{name}: {path}, byte {index}")
                except Bad as bad:
                    noticed += 1
                    unnamed += path.startswith("tile/entries") and not re.match(r"entry \d+: ", str(bad))
            others = {name: data for name, data in files.items() if name != path}
            for cut in (others, {**others, path: data + b"\0"}, {**others, path: data[:-1]}):
                try:
                    check(Memory(cut))
                    missed.append(f"{name}: {path} cut, grown or gone")
                except Bad:
                    noticed += 1
    if place:
        source = read_source(place)
        files = {name: source.read(name) for name in source.names()}
        flip(place, files, check_package if "manifest.sig" in files else check_export)
    else:
        sample = Sample().build()
        flip("export", sample.export(), lambda source: check_export(source, since=sample.checkpoint(7)))
        flip("package", sample.package(), check_package)
        # Without the witness's line: a receipt alone does not tell whose it is, so it is ignored there.
        keys, good = Keys(sample.keys()), sample.proof(9).split(f"— {sample.ORIGIN}/witness".encode())[0]
        flip("receipt", {"receipt": good}, lambda source: check_proof(source.read("receipt"), keys))
        for size in (1, 255, 256, 257, 600):
            big = Sample()
            for number in range(size):
                big.enrol("store", Signer(10 + number % 200)) if number < 200 else big.statements(
                    "notice", big.log, {"id": f"{number:032x}", "kind": "k", "text": "", "time": big.now})
            check_export(Memory(big.export()), since=big.checkpoint(size // 2))
        cut = Sample().build()
        cut.leaves = cut.leaves[1:]
        for what, since in (("larger", big.checkpoint()), ("changed", cut.checkpoint())):
            try:
                check_export(Memory(sample.export()), since=since)
                missed.append(f"an older checkpoint of a {what} log")
            except Bad:
                noticed += 1
        for number, (expected, change) in enumerate(forgeries()):
            forged = Sample().build()
            change(forged)
            try:
                said = "warning" if "warning" in " ".join(check_export(Memory(forged.export()))) else None
            except Bad as bad:
                said = str(bad) if str(bad).startswith(f"entry {len(forged.leaves) - 1}: ") else f"elsewhere: {bad}"
            noticed += 1
            if (said is None) != (expected is None) or expected and expected not in said or "elsewhere" in (said or ""):
                missed.append(f"forgery {number}: {said} instead of {expected}")
    print(f"self-test: {noticed} of {noticed + len(missed)} changes noticed, {unnamed} of an entry without its index",
          *missed[:50], sep="\n  ")
    return 1 if missed or unnamed else 0


def make_sample(place):
    sample = Sample().build()
    (place / "export").mkdir(parents=True)
    for name, data in sample.export().items():
        path = place / "export" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    (place / "older-checkpoint").write_bytes(sample.checkpoint(7))
    (place / "receipt.tlog-proof").write_bytes(sample.proof(9))
    with zipfile.ZipFile(place / "package.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in sample.package().items():
            archive.writestr(name, data)


def read_source(place):
    if re.match(r"https?://", place):
        return Site(place)
    path = Path(place)
    if path.is_dir():
        return Folder(path)
    if not path.is_file():
        raise Unusable(f"{place} is no directory, file or http(s) URL")
    return open_zip(path.read_bytes())


def main(arguments):
    options, places = {}, []
    arguments = list(arguments)
    while arguments:
        word = arguments.pop(0)
        if word in ("--keys", "--since", "--make-sample") and arguments:
            options[word] = arguments.pop(0)
        elif word == "--self-test":
            options[word] = True
        elif word.startswith("-"):
            raise Unusable(__doc__)
        else:
            places.append(word)
    if "--make-sample" in options:
        make_sample(Path(options["--make-sample"]))
        return 0
    if "--self-test" in options:
        return self_test(places[-1] if places else None)
    if len(places) != 2 or places[0] not in ("export", "proof", "package"):
        raise Unusable(__doc__)
    command, place = places
    pinned = Path(options["--keys"]).read_bytes() if "--keys" in options else None
    if command == "export":
        since = Path(options["--since"]).read_bytes() if "--since" in options else None
        lines = check_export(read_source(place), pinned, since)
    elif command == "package":
        lines = check_package(read_source(place), pinned)
    elif pinned is None:
        raise Unusable("a receipt is checked against pinned keys: --keys keys.json")
    else:
        keys = Keys(pinned)
        index, entry, checkpoint = check_proof(Path(place).read_bytes(), keys)
        who = "the log" if entry["signer"] == keys.log.hex() else entry["signer"]
        lines = [f"entry {index} of {checkpoint.size} in {keys.origin}, recorded at {entry['recorded']} ms, "
                 f"checkpoint of {checkpoint.time} s",
                 f"a {entry['kind']} signed by {who}; that this key was enrolled, an export shows",
                 canonical(entry["content"]).decode()]
    print(f"ok    {place}", *lines, *([] if pinned else ["warning: the keys were not pinned (--keys)"]), sep="\n      ")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except Bad as problem:
        print(f"WRONG {problem}")
        sys.exit(1)
    except (Unusable, OSError) as problem:
        print(problem, file=sys.stderr)
        sys.exit(2)
