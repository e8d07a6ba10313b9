"""What is in an image, as SPDX 2.3 in JSON: shared libraries by the packages they came from, and the crates linked in."""
import collections
import datetime
import hashlib
import pathlib
import re
import tomllib
from urllib.parse import quote


def sbom(version, libraries, cargo_lock, epoch):
    """`libraries` is the text of the bundle's LIBRARIES, `cargo_lock` that of the tokenizer's Cargo.lock."""
    packages = [baton(version)]
    files_of = collections.defaultdict(list)
    for line in libraries.splitlines():
        library, origin = line.split("\t")
        files_of[tuple(origin.split(" ", 1))].append(library)
    packages += [library_package(name, number, files) for (name, number), files in sorted(files_of.items())]
    packages += [crate(each) for each in tomllib.loads(cargo_lock)["package"] if "source" in each]
    body = "".join(package["SPDXID"] for package in packages)
    return {
        "spdxVersion": "SPDX-2.3", "dataLicense": "CC0-1.0", "SPDXID": "SPDXRef-DOCUMENT", "name": f"baton-{version}",
        "documentNamespace": f"urn:baton:sbom:{version}:{hashlib.sha256(body.encode()).hexdigest()[:16]}",
        "creationInfo": {
            "created": datetime.datetime.fromtimestamp(epoch, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "creators": ["Tool: baton-image"]},
        "packages": packages,
        "relationships": [relation("SPDXRef-DOCUMENT", "DESCRIBES", "SPDXRef-baton")] +
        [relation("SPDXRef-baton", "DEPENDS_ON", package["SPDXID"]) for package in packages[1:]]}


def baton(version):
    return {"SPDXID": "SPDXRef-baton", "name": "baton", "versionInfo": version, "downloadLocation": "NOASSERTION",
            "filesAnalyzed": False, "primaryPackagePurpose": "CONTAINER"}


def library_package(name, version, files):
    # Wheels' names have underscores, Debian's cannot.
    kind = "pypi" if "_" in name else "deb/debian"
    purl = f"pkg:{kind}/{quote(name.replace('_', '-'))}@{quote(version)}"
    return package(name, version, purl, "files: " + ", ".join(sorted(files)))


def crate(each):
    return package(each["name"], each["version"], f"pkg:cargo/{quote(each['name'])}@{quote(each['version'])}",
                   "linked into the programs")


def package(name, version, purl, comment):
    return {"SPDXID": "SPDXRef-" + re.sub(r"[^A-Za-z0-9.]+", "-", f"{purl.split('/')[0][4:]}-{name}-{version}"),
            "name": name, "versionInfo": version, "downloadLocation": "NOASSERTION", "filesAnalyzed": False,
            "comment": comment,
            "externalRefs": [{"referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl", "referenceLocator": purl}]}


def relation(one, kind, other):
    return {"spdxElementId": one, "relationshipType": kind, "relatedSpdxElement": other}


def cargo_lock():
    return (pathlib.Path(__file__).parents[2] / "common/text/ffi/Cargo.lock").read_text()
