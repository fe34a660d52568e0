import ConsentLedger
import Hummingbird

/// The log as files by their paths (C2SP tlog-tiles), for anybody's tools.
struct LogFiles: Sendable {
  let files: LedgerTileServer

  func add(to router: Router<BasicRequestContext>) {
    for name in ["checkpoint", "keys.json"] {
      router.get("\(name)") { _, _ in try answer(name) }
    }
    router.get("tile/**") { _, context in
      try answer("tile/" + context.parameters.getCatchAll().joined(separator: "/"))
    }
  }

  private func answer(_ path: String) throws -> Response {
    guard let bytes = try files.file(path: path) else { return Response(status: .notFound) }
    let isText = path == "checkpoint" || path.hasSuffix(".json")
    return Response(
      status: .ok,
      headers: [.contentType: isText ? "text/plain; charset=utf-8" : "application/octet-stream"],
      body: ResponseBody(byteBuffer: .init(bytes: bytes)))
  }
}
