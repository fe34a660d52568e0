import Foundation
import Mustache

/// The print-ready page of an audit: one file that loads nothing from anywhere.
struct AuditPage {
  /// How many rows of a table the page shows; the CSV has all.
  static let rowLimit = 100

  let audit: AuditReport

  /// The page. Throws only if the template is broken, which the tests would tell.
  func html() throws(LedgerError) -> String {
    MustacheContentTypes.register(EscapedPageText(), named: "ACCORD")
    let template: MustacheTemplate
    do { template = try MustacheTemplate(string: Self.template) } catch {
      throw .malformedDocument("the audit page's template cannot be read")
    }
    return template.render(model)
  }

  private struct EscapedPageText: MustacheContentType {
    func escapeText(_ text: String) -> String { PageText.escaped(text) }
  }

  private var model: [String: Any] {
    let basis = audit.basis
    let attention = audit.answers.filter { $0.verdict == .attention }
    return [
      "controller": audit.controller ?? "No policy is in force", "origin": basis.origin,
      "created": basis.askedAt, "size": "\(basis.checkpointSize)", "root": basis.checkpointRoot,
      "signed": basis.checkpointTime, "policy": basis.policyName ?? "none", "policyHash": basis.policy ?? "–",
      "note": audit.checkpointNote, "keys": audit.keys.map { ["name": $0.name, "key": $0.key] },
      "isFine": attention.isEmpty, "attentionCount": "\(attention.count)",
      "attention": attention.map { ["title": $0.question.title, "summary": $0.summary] },
      "verdicts": verdicts, "answers": audit.answers.map(answerModel),
      "charts": audit.charts.compactMap(\.svg).map { ["svg": $0] },
      "howTo": audit.howTo.map {
        ["title": $0.question.title, "number": "\($0.question.number)", "command": $0.command]
      },
    ]
  }

  /// All questions in their order; those about one customer with how to ask them.
  private var verdicts: [[String: String]] {
    var rows: [(number: Int, row: [String: String])] = audit.answers.map { answer in
      let number = answer.question.number
      return (
        number,
        [
          "number": number == 0 ? "–" : "\(number)", "id": answer.label, "title": answer.question.title,
          "summary": answer.summary, "mark": Self.mark(answer.verdict), "verdict": Self.word(answer.verdict),
          "class": answer.verdict.rawValue,
        ]
      )
    }
    let answered = Set(audit.answers.map(\.question))
    for item in audit.howTo where !answered.contains(item.question) {
      rows.append(
        (
          item.question.number,
          [
            "number": "\(item.question.number)", "id": "customers", "title": item.question.title,
            "summary": item.command, "mark": "–", "verdict": "asked one by one", "class": "unknown",
          ]
        ))
    }
    return rows.sorted { $0.number < $1.number }.map(\.row)
  }

  private func answerModel(_ answer: ReportAnswer) -> [String: Any] {
    let number = answer.question.number
    return [
      "id": answer.label, "number": number == 0 ? "–" : "\(number)", "title": answer.question.title,
      "summary": answer.summary, "mark": Self.mark(answer.verdict), "verdict": Self.word(answer.verdict),
      "class": answer.verdict.rawValue, "remarks": answer.remarks, "hasEvidence": !answer.evidence.isEmpty,
      "evidence": Self.evidence(answer.evidence),
      "tables": answer.tables.map { tableModel($0, answer.fileName($0)) },
    ]
  }

  private func tableModel(_ table: ReportTable, _ file: String) -> [String: Any] {
    let isNumeric = table.columns.indices.map { column in
      table.rows.contains { $0[column].isNumeric }
        && table.rows.allSatisfy { $0[column].isNumeric || $0[column] == .none }
    }
    let rows = table.rows.prefix(Self.rowLimit).map { row in
      zip(row, isNumeric).map { cell, isNumber in
        ["text": Self.short(cell.display), "class": isNumber ? "n" : "t"]
      }
    }
    return [
      "title": table.title, "isEmpty": table.rows.isEmpty, "rows": rows,
      "columns": zip(table.columns, isNumeric).map { ["title": $0.title, "class": $1 ? "n" : "t"] },
      "hasMore": table.rows.count > Self.rowLimit, "count": "\(table.rows.count)", "shown": "\(rows.count)",
      "file": file,
    ]
  }

  /// A digest by its first digits; the JSON and CSV have it whole.
  private static func short(_ text: String) -> String {
    guard text.utf8.count == 64, text.utf8.allSatisfy({ (48...57).contains($0) || (97...102).contains($0) })
    else {
      return text
    }
    return text.prefix(12) + "…"
  }

  private static func evidence(_ entries: [UInt64]) -> String {
    let shown = entries.prefix(24).map { "\($0)" }.joined(separator: ", ")
    return entries.count > 24 ? shown + " and \(entries.count - 24) more (in audit.json)" : shown
  }

  private static func mark(_ verdict: ReportVerdict) -> String {
    switch verdict {
    case .fine: "✓"
    case .attention: "!"
    case .information: "i"
    case .unknown: "?"
    }
  }

  private static func word(_ verdict: ReportVerdict) -> String {
    switch verdict {
    case .fine: "in order"
    case .attention: "needs attention"
    case .information: "facts"
    case .unknown: "undecided"
    }
  }
}

extension AuditPage {
  private static let template = head + top + body

  private static let head = """
    {{% CONTENT_TYPE:ACCORD}}<!DOCTYPE html>
    <html lang="en">
    <head>
    <meta charset="utf-8"/>
    <meta name="viewport" content="width=device-width, initial-scale=1"/>
    <meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'"/>
    <title>Consent audit of {{origin}}</title>
    <style>
    :root { color-scheme: light; }
    @page { size: A4; margin: 18mm 15mm 20mm; @bottom-left { content: "Consent audit"; font: 8pt Helvetica, Arial, sans-serif; color: #4b5563; } @bottom-right { content: "Page " counter(page) " of " counter(pages); font: 8pt Helvetica, Arial, sans-serif; color: #4b5563; } }
    * { box-sizing: border-box; }
    body { margin: 0 auto; max-width: 1080px; padding: 32px 28px 64px; background: #fff; color: #1a1a1a; font: 15px/1.5 Helvetica, Arial, sans-serif; }
    header { border-bottom: 3px solid #1f4e79; margin-bottom: 24px; padding-bottom: 16px; }
    header p { margin: 2px 0; }
    h1 { font-size: 30px; line-height: 1.2; margin: 0 0 8px; }
    h2 { font-size: 21px; margin: 40px 0 8px; border-bottom: 1px solid #b8c0cc; padding-bottom: 4px; }
    h3 { font-size: 17px; margin: 30px 0 4px; }
    h4 { font-size: 14px; margin: 18px 0 4px; }
    a { color: #1f4e79; }
    .lead { font-size: 17px; padding: 12px 16px; border-left: 6px solid; margin: 16px 0; }
    .lead.fine { border-color: #2c5e24; background: #eef5ec; }
    .lead.attention { border-color: #8f1d2c; background: #fbeeee; }
    dl { display: grid; grid-template-columns: max-content 1fr; gap: 2px 16px; margin: 12px 0; }
    dt { color: #4b5563; }
    dd { margin: 0; overflow-wrap: anywhere; }
    code, pre { font: 12px/1.45 "DejaVu Sans Mono", Menlo, Consolas, monospace; }
    pre { background: #f4f6f8; border: 1px solid #d5d9df; padding: 10px; white-space: pre-wrap; overflow-wrap: anywhere; }
    table { border-collapse: collapse; width: 100%; margin: 6px 0 12px; font-size: 12.5px; }
    .scroll { overflow-x: auto; }
    th, td { border-bottom: 1px solid #d5d9df; padding: 4px 7px; text-align: left; vertical-align: top; }
    td { overflow-wrap: anywhere; }
    th { background: #f0f3f6; border-bottom: 2px solid #7c8796; }
    .n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
    .verdicts td { font-size: 14px; }
    .mark { display: inline-block; min-width: 24px; height: 24px; line-height: 22px; border-radius: 12px; border: 1px solid; text-align: center; font-weight: bold; margin-right: 6px; }
    .fine .mark { color: #2c5e24; } .attention .mark { color: #fff; background: #8f1d2c; border-color: #8f1d2c; }
    .information .mark { color: #1f4e79; } .unknown .mark { color: #4b5563; border-style: dashed; }
    .small { font-size: 12.5px; color: #4b5563; }
    figure { margin: 18px 0; break-inside: avoid; }
    figure svg { width: 100%; height: auto; border: 1px solid #d5d9df; }
    tr, h1, h2, h3, h4, .lead, pre { break-inside: avoid; }
    h2, h3, h4 { break-after: avoid; }
    thead { display: table-header-group; }
    @media print { body { padding: 0; max-width: none; font-size: 10pt; } h2.page { break-before: page; } a { color: inherit; text-decoration: none; } table { font-size: 7.5pt; } .scroll { overflow: visible; } }
    </style>
    </head>

    """

  private static let top = """
    <body>
    <header>
    <h1>Consent audit</h1>
    <p><strong>{{controller}}</strong></p>
    <p>Log {{origin}}, {{size}} entries, checkpoint signed {{signed}}</p>
    <p>Policy in force: {{policy}}</p>
    <p class="small">Made {{created}}. All times are UTC. Customers appear by tag only.</p>
    </header>
    <main>
    <section aria-labelledby="summary">
    <h2 id="summary">Summary</h2>
    {{#isFine}}<p class="lead fine">Nothing that was examined needs attention.</p>{{/isFine}}
    {{^isFine}}<div class="lead attention"><strong>{{attentionCount}} answers need attention.</strong>
    <ul>{{#attention}}<li>{{title}} {{summary}}</li>{{/attention}}</ul></div>{{/isFine}}
    <table class="verdicts">
    <thead><tr><th scope="col">No.</th><th scope="col">Question</th><th scope="col">Verdict</th><th scope="col">Answer</th></tr></thead>
    <tbody>
    {{#verdicts}}<tr class="{{class}}"><td>{{number}}</td><td><a href="#{{id}}">{{title}}</a></td><td><span class="mark" aria-hidden="true">{{mark}}</span>{{verdict}}</td><td>{{summary}}</td></tr>
    {{/verdicts}}
    </tbody></table>
    </section>
    <section aria-labelledby="log">
    <h2 id="log">The log, and how to verify it</h2>
    <dl><dt>Log</dt><dd>{{origin}}</dd><dt>Entries</dt><dd>{{size}}</dd><dt>Root (SHA-256)</dt><dd><code>{{root}}</code></dd>
    <dt>Policy hash</dt><dd><code>{{policyHash}}</code></dd>{{#keys}}<dt>{{name}}</dt><dd><code>{{key}}</code></dd>{{/keys}}</dl>
    <p>The checkpoint on which every answer rests (C2SP tlog-checkpoint; the same bytes are in the file <code>checkpoint</code>):</p>
    <pre>{{note}}</pre>
    <ol>
    <li>Compare the keys above with those that the controller published elsewhere.</li>
    <li><code>accord ledger verify --data DIR</code> recomputes every hash, signature and table; an export of the log can be verified with the separate verifier, <code>protocol/verify_ledger.py</code>.</li>
    <li><code>accord report history --data DIR --since FILE</code> proves that the log continues any checkpoint that you kept.</li>
    <li><code>manifest.json</code> and <code>manifest.sig</code>, if they are beside this file, tell whether any file of this audit was changed.</li>
    </ol>
    </section>

    """

  private static let body = """
    <section aria-labelledby="pictures">
    <h2 id="pictures" class="page">Pictures</h2>
    {{#charts}}<figure>{{{svg}}}</figure>
    {{/charts}}
    {{^charts}}<p>There is nothing to draw yet.</p>{{/charts}}
    </section>
    <section aria-labelledby="answers">
    <h2 id="answers" class="page">Answers</h2>
    {{#answers}}
    <article class="{{class}}" aria-labelledby="{{id}}">
    <h3 id="{{id}}"><span class="mark" aria-hidden="true">{{mark}}</span>{{number}} {{title}}</h3>
    <p><strong>{{verdict}}:</strong> {{summary}}</p>
    {{#tables}}
    <h4>{{title}}</h4>
    {{#isEmpty}}<p class="small">Nothing.</p>{{/isEmpty}}
    {{^isEmpty}}<div class="scroll"><table><thead><tr>{{#columns}}<th scope="col" class="{{class}}">{{title}}</th>{{/columns}}</tr></thead>
    <tbody>
    {{#rows}}<tr>{{#.}}<td class="{{class}}">{{text}}</td>{{/.}}</tr>
    {{/rows}}
    </tbody></table></div>
    {{#hasMore}}<p class="small">{{shown}} of {{count}} rows; all are in <code>{{file}}</code>.</p>{{/hasMore}}{{/isEmpty}}
    {{/tables}}
    {{#hasEvidence}}<p class="small">Rests on entries {{evidence}}.</p>{{/hasEvidence}}
    <ul class="small">{{#remarks}}<li>{{.}}</li>{{/remarks}}</ul>
    </article>
    {{/answers}}
    </section>
    <section aria-labelledby="customers">
    <h2 id="customers">Questions about one customer</h2>
    <p>These are answered at the customer's own store, whose vault alone can turn a customer into a tag:</p>
    <table><thead><tr><th scope="col">No.</th><th scope="col">Question</th><th scope="col">Command</th></tr></thead><tbody>
    {{#howTo}}<tr><td>{{number}}</td><td>{{title}}</td><td><code>{{command}}</code></td></tr>
    {{/howTo}}
    </tbody></table>
    </section>
    <section aria-labelledby="limits">
    <h2 id="limits">What this cannot show</h2>
    <ul>
    <li>An event that nobody recorded. Receipts to customers and the nodes' signatures narrow that gap; they do not close it.</li>
    <li>That what a node recorded is what the customer meant: recorder, channel, steps and times are the node's words, under its signature.</li>
    <li>Which customers took part in a round: only their nodes know, and can open one decision at a time.</li>
    <li>That a model forgot anything. Ending consent stops future use; past influence is bounded by ε where it is finite.</li>
    <li>Nothing here is legal advice.</li>
    </ul>
    </section>
    </main>
    </body>
    </html>

    """
}
