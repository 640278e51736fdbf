"""Do the reference page and the JSON Schema tell the whole format?"""

import json

from protocols.job.keys import JOB
from protocols.job.not_yet import NOT_YET
from protocols.job.reference import json_schema, reference


def test_the_page_explains_every_key_and_what_is_missing():
    page = reference()
    assert [key.name for key in JOB.keys if f"| `{key.name}` |" not in page] == []
    assert [row.what for row in NOT_YET if row.what not in page] == []
    for nested in ("wall", "fuel", "max_price", "compute_capability", "digest", "max_attempts", "interval", "webhook"):
        assert f"| `{nested}` |" in page
    widths = {line.count(" | ") for line in page.splitlines() if line.startswith("| `")}
    assert widths == {3}


def test_the_schema_lists_every_key_and_allows_no_other():
    schema = json_schema()
    assert json.loads(json.dumps(schema)) == schema
    assert list(schema["properties"]) == [key.name for key in JOB.keys]
    assert schema["required"] == ["version"]
    for table in _tables(schema):
        assert table["additionalProperties"] is False
        assert set(table["required"]) <= set(table["properties"])
        assert all(one["description"] for one in table["properties"].values())


def _tables(node):
    if isinstance(node, dict):
        if "properties" in node:
            yield node
        for inner in node.values():
            yield from _tables(inner)
    elif isinstance(node, list):
        for inner in node:
            yield from _tables(inner)
