"""The OpenAPI description as a page that needs nothing from elsewhere."""

import html

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; }}
body {{ font: 1rem/1.5 system-ui; margin: 2rem auto; max-width: 50rem;
  padding: 0 1rem; }}
code {{ overflow-wrap: anywhere; }}
td, th {{ padding: .2rem .8rem .2rem 0; text-align: left;
  vertical-align: top; }}
</style>
</head>
<body>
<main>
<h1>{title}</h1>
<p>{about} <a href="openapi.json">openapi.json</a>, <a href=".">page</a></p>
{operations}
</main>
</body>
</html>
"""


def page(description):
    """Returns HTML.

    Args:
        description: OpenAPI, as a dict.
    """
    info = description["info"]
    operations = [
        _operation(method, path, operation)
        for path, methods in description["paths"].items()
        for method, operation in methods.items()
    ]
    return _PAGE.format(
        title=html.escape(info["title"]),
        about=html.escape(info.get("description", "")),
        operations="\n".join(operations),
    )


def _operation(method, path, operation):
    rows = "".join(map(_row, operation.get("parameters", ())))
    table = ""
    if rows:
        table = (
            "<table><tr><th>parameter</th><th>is</th><th>default</th></tr>"
            f"{rows}</table>"
        )
    kinds = operation.get("requestBody", {}).get("content", {})
    body = f"<p>Body: {html.escape(' or '.join(kinds))}</p>" if kinds else ""
    return (
        f"<h2><code>{method.upper()} {html.escape(path)}</code></h2>"
        f"<p>{html.escape(operation.get('summary', ''))}</p>{table}{body}"
    )


def _row(parameter):
    schema = parameter.get("schema", {})
    kinds = schema.get("anyOf", [schema])
    words = next(iter(kinds)).get("type", "")
    for name, sign in (("minimum", "from"), ("maximum", "to")):
        for kind in kinds:
            if name in kind:
                words += f" {sign} {kind[name]}"
    cells = (parameter["name"], words, schema.get("default", ""))
    return (
        f"<tr>{''.join(f'<td>{html.escape(str(c))}</td>' for c in cells)}</tr>"
    )
