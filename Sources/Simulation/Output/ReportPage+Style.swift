import Foundation
import Learning

extension ReportPage {
  var configuration: String {
    let data = results.data.map { data -> String in
      let files = data.inputs.map { input in
        "<li>" + HTMLText.element("code", input.file) + " SHA-256 "
          + HTMLText.element("code", input.sha256, class: "break")
          + (input.isInManifest == true ? " (as in the manifest)" : "") + "</li>"
      }.joined()
      let facts =
        "\(ScenarioReader.grouped(data.records)) records, \(data.columns) columns, "
        + "\(ScenarioReader.grouped(data.nodes)) nodes"
      return "<li>" + HTMLText.element("strong", data.specification.name) + ": \(HTMLText.escaped(facts))"
        + (files.isEmpty ? "" : "<ul>\(files)</ul>") + "</li>"
    }.joined(separator: "\n")
    let environment = results.environment
    let versions =
      "\(environment.accord), \(environment.system), \(environment.architecture), \(environment.processors) cores"
    return section(
      "configuration", "Configuration, versions, and how to get this again",
      """
      <pre class="command">\(HTMLText.escaped(results.command))</pre>
      <p>The same version with the same scenario and data on the same kind of processor gives the same models to \
      the last bit, whatever the number of cores; seconds differ.</p>
      <dl class="facts"><dt>Versions</dt><dd>\(HTMLText.escaped(versions))</dd>\
      <dt>Seeds</dt><dd>\(results.seeds.map(String.init).joined(separator: ", "))</dd>\
      <dt>Scenario file</dt><dd>\(HTMLText.escaped(results.scenario.file)), SHA-256 \
      <code class="break">\(HTMLText.escaped(results.scenario.sha256))</code></dd></dl>
      <ul>\(data)</ul>
      <details open><summary>The scenario file</summary><pre>\(HTMLText.escaped(results.scenario.text))</pre></details>
      """)
  }

  var limits: String {
    let items = [
      "Exact metrics on held-out records are the researcher's; a deployment sees noised histograms of them.",
      "The spread is over seeds: cohorts, initial model, shuffling, rounding and noise. The split and the "
        + "partition are the same in all of them, so it is not the uncertainty about other customers.",
      "Choosing the best of many points on the held-out records makes it look better than it will be. Settings "
        + "tuned on private records cost privacy that is not counted here.",
      "Drawing a cohort lowers ε only where the guarantee names the sampling: a trusted server that keeps cohorts "
        + "secret. A deployed federation claims nothing from it.",
      "A simulation shows neither attacks nor lost connections; accord simulate faults does the latter.",
    ].map { HTMLText.element("li", $0) }.joined()
    return section("limits", "What this does not show", "<ul>\(items)</ul>")
  }

  static let style = """
    :root { --paper: #fbfbfd; --card: #ffffff; --ink: #16202c; --soft: #5a6676; --line: #dfe4ea; --grid: #e6eaef;
      --accent: #1d5fa8; --band: #1d5fa826; --ref: #16202c; --refband: #16202c14;
      --c0: #7b2d8b; --c1: #3f51b5; --c2: #1379b8; --c3: #0f8a7e; --c4: #4a8c1f; --c5: #a8790a; --c6: #c4511a; --c7: #a3263f; }
    @media (prefers-color-scheme: dark) { :root { --paper: #11161d; --card: #18202a; --ink: #e8edf3; --soft: #9aa8b8;
      --line: #2b3643; --grid: #27313d; --accent: #6fb1f5; --band: #6fb1f52e; --ref: #e8edf3; --refband: #e8edf31f;
      --c0: #cf8ae0; --c1: #93a1f5; --c2: #63b8ee; --c3: #4fd0c1; --c4: #9fd65f; --c5: #e8bd4d; --c6: #f59563; --c7: #f07d92; } }
    @page { size: A4; margin: 16mm 14mm; }
    * { box-sizing: border-box; }
    body { margin: 0 auto; max-width: 1240px; padding: 40px 28px 72px; background: var(--paper); color: var(--ink);
      font: 15px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
    header { border-top: 4px solid var(--accent); padding-top: 18px; margin-bottom: 12px; }
    .kicker { margin: 0; color: var(--accent); font-size: 13px; font-weight: 600; letter-spacing: .08em; text-transform: uppercase; }
    h1 { font-size: 34px; line-height: 1.15; margin: 6px 0 10px; letter-spacing: -.01em; }
    h2 { font-size: 22px; margin: 52px 0 8px; letter-spacing: -.005em; }
    h3 { font-size: 17px; margin: 26px 0 8px; }
    h4 { font-size: 14px; margin: 0 0 4px; font-weight: 600; }
    p { max-width: 76ch; margin: 8px 0 12px; }
    li { max-width: 90ch; margin: 3px 0; }
    .summary { font-size: 17px; color: var(--soft); }
    .small { font-size: 12.5px; color: var(--soft); font-weight: 400; }
    .facts { display: grid; grid-template-columns: max-content 1fr; gap: 3px 18px; margin: 14px 0; font-size: 14px; }
    dt { color: var(--soft); } dd { margin: 0; overflow-wrap: anywhere; }
    .mono, code, pre { font: 12.5px/1.5 ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; }
    .break { overflow-wrap: anywhere; }
    pre { background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: 14px 16px; white-space: pre-wrap; overflow-wrap: anywhere; }
    .command { border-left: 4px solid var(--accent); }
    summary { cursor: pointer; color: var(--soft); }
    .panels { display: grid; grid-template-columns: repeat(auto-fill, minmax(340px, 1fr)); gap: 18px; }
    figure { margin: 0; padding: 16px 16px 12px; background: var(--card); border: 1px solid var(--line); border-radius: 10px; break-inside: avoid; max-width: 560px; }
    figure svg { display: block; width: 100%; height: auto; }
    figcaption { color: var(--soft); font-size: 11.5px; line-height: 1.4; margin-top: 4px; }
    .scroll { overflow-x: auto; margin: 8px 0 12px; }
    table { border-collapse: collapse; font-size: 13px; width: 100%; background: var(--card); border: 1px solid var(--line); }
    td:first-child { min-width: 170px; } td.g { min-width: 300px; } thead .n { white-space: normal; }
    .matrix { width: auto; font-size: 14px; }
    th, td { padding: 6px 12px; text-align: left; vertical-align: top; border-bottom: 1px solid var(--line); }
    thead th { color: var(--soft); font-weight: 600; border-bottom: 2px solid var(--line); }
    .n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
    svg text { font-family: system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
    .grid { stroke: var(--grid); stroke-width: 1; } .axis { stroke: var(--soft); stroke-width: 1; }
    .tick { fill: var(--soft); font-size: 11px; } .label { fill: var(--ink); font-size: 11.5px; } .name { font-size: 10.5px; }
    .band { fill: var(--band); } .median { fill: none; stroke: var(--accent); stroke-width: 2.2; stroke-linejoin: round; }
    .dot { fill: var(--accent); stroke: var(--card); stroke-width: .8; }
    .refline { stroke: var(--ref); stroke-width: 1.4; stroke-dasharray: 6 4; } .refband { fill: var(--refband); }
    .curve { fill: none; stroke-width: 1.8; stroke-linejoin: round; stroke: var(--accent); } .curve.ref { stroke-dasharray: 6 4; }
    .bar { stroke-width: 9; stroke-linecap: round; opacity: .38; }
    .curve.ref, .bar.ref { stroke: var(--ref); } .dot.ref, .name.ref { fill: var(--ref); }
    \((0..<8).map { ".curve.c\($0), .bar.c\($0) { stroke: var(--c\($0)); } .dot.c\($0), .name.c\($0) { fill: var(--c\($0)); }" }.joined(separator: "\n"))
    @media print { :root { --paper: #fff; --card: #fff; --ink: #000; --soft: #444; --line: #ccc; --grid: #e2e2e2; --accent: #1d5fa8;
      --band: #1d5fa826; --ref: #000; --refband: #00000014; --c0: #7b2d8b; --c1: #3f51b5; --c2: #1379b8; --c3: #0f8a7e; --c4: #4a8c1f; --c5: #a8790a; --c6: #c4511a; --c7: #a3263f; }
      body { max-width: none; padding: 0; font-size: 10pt; print-color-adjust: exact; -webkit-print-color-adjust: exact; }
      .panels { grid-template-columns: 1fr 1fr; } .scroll { overflow: visible; } table { font-size: 7.5pt; } .matrix { font-size: 9pt; }
      th, td { padding: 3px 5px; } td:first-child, td.g { min-width: 0; } h2 { break-after: avoid; margin-top: 28px; } h3, h4 { break-after: avoid; } tr { break-inside: avoid; } thead { display: table-header-group; } }

    """
}
