import json, zipfile
from tfsent.recipe.loader import load_config
def test_bundle(tiny_settings, tiny_encoder, tiny_reviews, tmp_path):
    from tfsent.training.finetune import train
    from tfsent.exporting import publish
    from tfsent.exporting.bundling import bundle
    c=load_config("smoke",[*tiny_settings,f"encoder=path:{tiny_encoder}#layers=1","train.epochs=4"])
    train(c,tmp_path/"run"); assert publish.export(tmp_path/"run",c.export).passed
    bundle(tmp_path/"run",tmp_path/"a.tfsent.zip")
    with zipfile.ZipFile(tmp_path/"a.tfsent.zip") as z:
        for n in z.namelist():
            for p in (tiny_encoder,tiny_reviews,tmp_path): assert str(p).encode() not in z.read(n), n
        d=json.loads(z.read("data.json"))["encoder"]; assert (d["uri"],d["layers"])==(f"path:{tiny_encoder.name}#layers=1",[1])
        assert f"path:{tiny_encoder.name}#layers=1" in z.read("config.yaml").decode() and f"path:{tiny_encoder.name}#layers=1" in z.read("sbom.cdx.json").decode()
