"""The relocatable archive: unpacked anywhere, it serves with what is in it."""
import json
import pathlib
import re
import signal
import subprocess
import tarfile
import urllib.request

C_LIBRARY = re.compile(r"/(ld-linux-x86-64|libc|libm|libpthread|libdl|librt|libresolv|libnss_\w+)[.-]")


def loaded_libraries(process_id):
    maps = pathlib.Path(f"/proc/{process_id}/maps").read_text()
    return {line.split()[-1] for line in maps.splitlines() if ".so" in line.split()[-1]}


def test_it_serves_from_anywhere_with_its_own_libraries(bundle, tmp_path):
    with tarfile.open(bundle) as tar:
        tar.extractall(tmp_path / "anywhere")
    home, = (tmp_path / "anywhere").iterdir()
    up = subprocess.Popen(
        [home / "bin/baton", "up", "--model", home / "models/baton-demo", "--http", "127.0.0.1:0", "--grpc",
         "127.0.0.1:0"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env={"PATH": "/usr/bin:/bin"})
    try:
        url = None
        for line in up.stdout:
            if found := re.search(r"OpenAI API +(http://\S+)", line):
                url = found[1]
                break
        assert url, "it ended before it was ready"
        request = urllib.request.Request(url + "/completions", json.dumps({"prompt": "KV", "max_tokens": 4}).encode(),
                                         {"Content-Type": "application/json"})
        answer = json.load(urllib.request.urlopen(request, timeout=60))
        assert answer["usage"]["completion_tokens"] == 4
        cluster = json.load(urllib.request.urlopen(url.removesuffix("/v1") + "/debug/cluster", timeout=60))
        for worker in cluster["workers"]:
            strange = [path for path in loaded_libraries(worker["process_id"])
                       if not path.startswith(str(home)) and not C_LIBRARY.search(path)]
            assert not strange, f"{worker['id']} has loaded {strange}"
    finally:
        up.send_signal(signal.SIGINT)
        up.communicate(timeout=60)
    assert up.returncode == 0
