"""`sbom.cdx.json` and `LICENSES.md` of a bundle: what the model is made of, what it needs, and under which terms.

The bill of materials follows CycloneDX 1.6. It has no time, and its serial number follows from its content: one run
in one environment gives the same bytes.
"""

from __future__ import annotations

import importlib.metadata
import json
import re
import uuid
from typing import TYPE_CHECKING, Any

from tfsent import __version__
from tfsent.encoders import catalogue
from tfsent.storage.environment import version_of

if TYPE_CHECKING:
    from cyclonedx.model.component import Component

UNKNOWN = "unknown, given by the user"
IMDB = (
    "the Large Movie Review Dataset v1.0 (A. L. Maas et al., Learning Word Vectors for Sentiment Analysis, ACL 2011). "
    "Its authors state no licence, and ask to be cited"
)
STATE_IT = (
    "Where a licence is unknown, the maker of the bundle states it: a file LICENSES.md in the run takes the place of "
    "this one when the run is bundled again."
)


def encoder_licence(uri: str) -> str:
    """Return the licence of an encoder, as `tfsent encoders ls` has it.

    Args:
        uri: as in a recipe; a revision after `@` is left out.
    """
    entry = catalogue.find(uri) or catalogue.find(uri.split("@")[0])
    return UNKNOWN if entry is None else entry.licence


def data_licence(source: str) -> str:
    """Return what is known of the licence of the reviews.

    Args:
        source: `data.source` of the recipe.
    """
    if source in ("imdb", "imdb-wheel"):
        return IMDB
    if source.startswith("tfds:"):
        return f"unknown; the catalogue of TensorFlow Datasets has a page on {source.removeprefix('tfds:')}"
    return UNKNOWN


def unknown_licences(uri: str, source: str, *, taught: bool = False) -> tuple[str, ...]:
    """Return which of `encoder`, `data` and, where the model had one, `teacher` have no known licence."""
    found = {"encoder": encoder_licence(uri), "data": data_licence(source), **({"teacher": UNKNOWN} if taught else {})}
    return tuple(name for name, licence in found.items() if licence.startswith("unknown"))


def licences(uri: str, source: str, *, taught: bool = False) -> str:
    """Return `LICENSES.md`.

    Args:
        uri: of the encoder.
        source: `data.source` of the recipe.
        taught: whether the model learnt from a teacher. Some models forbid that others learn from their answers.
    """
    lines = [f"- Encoder, {uri}: {encoder_licence(uri)}", f"- Reviews, {source}: {data_licence(source)}"]
    lines += [f"- Teacher, and the texts that it labelled: {UNKNOWN}"] if taught else []
    lines += ["- tfsent, whose graphs are in the exported files: Apache-2.0"]
    return "\n".join(["# Licences", "", *lines, "", STATE_IT, ""])


def bill_of_materials(uri: str, source: str, data: dict[str, Any], model: dict[str, str]) -> bytes:
    """Return `sbom.cdx.json`: packages of this environment, the encoder and the reviews.

    Args:
        uri: of the encoder.
        source: `data.source` of the recipe.
        data: `data.json` of the bundle.
        model: SHA-256 by file of `model/`.
    """
    from cyclonedx.model import Property
    from cyclonedx.model.bom import Bom
    from cyclonedx.model.component import Component, ComponentType
    from cyclonedx.output.json import JsonV1Dot6

    learner = ComponentType.MACHINE_LEARNING_MODEL
    root = Component(
        type=learner, name="model", bom_ref="model", description="a text classifier", components=_files("model", model)
    )
    encoder = data.get("encoder", {})
    parts = [
        Component(
            type=learner,
            name=uri,
            bom_ref="encoder",
            version=encoder.get("revision"),
            licenses=_terms(encoder_licence(uri)),
            components=_files("encoder", encoder.get("files") or {}),
        )
    ]
    for name, split in data["splits"].items():
        part = Component(type=ComponentType.DATA, name=f"{name} reviews of {source}", bom_ref=f"data/{name}")
        part.description = split["origin"]
        part.hashes = _sha256(split["fingerprint"])
        part.properties = [Property(name="tfsent:reviews", value=str(split["reviews"]))]
        part.licenses = _terms(data_licence(source))
        parts.append(part)
    for i, teacher in enumerate(data.get("distil", {}).get("teachers", ())):
        part = Component(type=learner, name=str(teacher["path"]), bom_ref=f"teacher/{i}", licenses=_terms(UNKNOWN))
        part.description, part.hashes = f"a teacher, {teacher['kind']}", _sha256(teacher["sha256"])
        parts.append(part)
    bom = Bom(components=[*parts, *_packages()], serial_number=uuid.UUID(int=0))
    bom.metadata.component = root
    bom.register_dependency(root, bom.components)
    whole = json.loads(JsonV1Dot6(bom).output_as_string())
    del whole["metadata"]["timestamp"]
    whole["serialNumber"] = f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_OID, json.dumps(whole, sort_keys=True))}"
    return (json.dumps(whole, indent=2) + "\n").encode()


def _files(of: str, digests: dict[str, str]) -> list[Component]:
    from cyclonedx.model.component import Component, ComponentType

    return [
        Component(type=ComponentType.FILE, name=name, bom_ref=f"{of}/{name}", hashes=_sha256(digest))
        for name, digest in sorted(digests.items())
    ]


def _sha256(digest: str) -> Any:
    from cyclonedx.model import HashAlgorithm, HashType

    return [HashType(alg=HashAlgorithm.SHA_256, content=digest)]


def _terms(licence: str) -> Any:
    """Return a licence: an identifier of SPDX, or words."""
    from cyclonedx.model.license import DisjunctiveLicense

    if " " in licence:
        return [DisjunctiveLicense(name=licence)]
    return [DisjunctiveLicense(id=licence)]


def _packages() -> list[Component]:
    """Return tfsent and what it requires, as far as it is installed."""
    from cyclonedx.model.component import Component, ComponentType
    from packageurl import PackageURL

    found = {"tfsent": __version__, **{name: version for name in _required() if (version := version_of(name))}}
    return [
        Component(
            type=ComponentType.LIBRARY,
            name=name,
            version=version,
            bom_ref=f"pypi/{name}",
            purl=PackageURL("pypi", None, name, version),
        )
        for name, version in sorted(found.items())
    ]


def _required() -> list[str]:
    """Return the names of the packages that tfsent itself requires, spelt as the package index spells them."""
    try:
        words = importlib.metadata.requires("tfsent") or []
    except importlib.metadata.PackageNotFoundError:  # a checkout that is not installed
        return []
    names = [re.split(r"[^A-Za-z0-9._-]", word)[0] for word in words if "extra ==" not in word]
    return [re.sub(r"[-_.]+", "-", name).lower() for name in names]
