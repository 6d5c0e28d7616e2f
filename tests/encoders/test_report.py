"""The report of `tfsent encoders check`. test_hubs.py has the records it compares with."""

import json

from tfsent.encoders.report import check_encoder
from tfsent.storage.manifest import sha256


def test_report_describes_an_encoder(tiny_encoder):
    report = check_encoder(f"path:{tiny_encoder}")
    assert (report.layers, report.hidden_size, report.heads, report.casing) == (2, 8, 2, "uncased")
    assert (report.recorded, report.pooler, report.revision) == ("own", True, None)
    assert report.files["model.safetensors"] == sha256(tiny_encoder / "model.safetensors")
    assert json.loads(json.dumps(report.to_dict())) == report.to_dict()
