"""An OCI archive of one layer. usage: image.py OUT NAME FOLDER COMMAND..."""

import hashlib
import io
import json
import os
import sys
import tarfile

out, name, folder, *command = sys.argv[1:]


def owned_by_root(info):
    info.uid = info.gid = 0
    info.uname = info.gname = ""
    info.mtime = 0
    return info


def digest(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


layer = io.BytesIO()
with tarfile.open(fileobj=layer, mode="w", format=tarfile.PAX_FORMAT) as tar:
    for entry in sorted(os.listdir(folder)):
        tar.add(os.path.join(folder, entry), entry, filter=owned_by_root)
layer = layer.getvalue()
config = json.dumps({
    "architecture": {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine],
    "os": "linux",
    "config": {"Cmd": command, "Env": ["PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"]},
    "rootfs": {"type": "layers", "diff_ids": [digest(layer)]},
}).encode()
TYPE = "application/vnd.oci.image."


def described(kind, data, **more):
    return {"mediaType": TYPE + kind, "digest": digest(data), "size": len(data), **more}


manifest = json.dumps({
    "schemaVersion": 2,
    "mediaType": TYPE + "manifest.v1+json",
    "config": described("config.v1+json", config),
    "layers": [described("layer.v1.tar", layer)],
}).encode()
index = json.dumps({
    "schemaVersion": 2,
    "manifests": [described("manifest.v1+json", manifest, annotations={"io.containerd.image.name": name})],
}).encode()
with tarfile.open(out, "w") as tar:
    files = [("oci-layout", b'{"imageLayoutVersion": "1.0.0"}'), ("index.json", index)]
    files += [("blobs/sha256/" + digest(data)[7:], data) for data in (layer, config, manifest)]
    for path, data in files:
        info = tarfile.TarInfo(path)
        info.size = len(data)
        tar.addfile(info, io.BytesIO(data))
