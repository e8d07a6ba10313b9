"""Which file of a bundle lies where in the image."""
import os
import pathlib
import shutil
import stat

USER = 65532
BIN = "usr/local/bin"
HOME = "opt/baton"
LIBRARIES = f"{HOME}/lib"
C_LIBRARY = "usr/lib/x86_64-linux-gnu"

ENVIRONMENT = {
    "PATH": f"/{BIN}",
    # A driver's libraries are put into one of the last two by NVIDIA's container toolkit.
    "LD_LIBRARY_PATH": f"/{LIBRARIES}:/{C_LIBRARY}:/usr/lib64",
    "UCX_MODULE_DIR": f"/{LIBRARIES}/ucx",
    "BATON_PROGRAM_DIR": f"/{BIN}",
    "NVIDIA_DRIVER_CAPABILITIES": "compute,utility",
}

TEXTS = {
    "etc/passwd": f"root:x:0:0:root:/:/\nbaton:x:{USER}:{USER}:Baton:/tmp:/\n",
    "etc/group": f"root:x:0:\nbaton:x:{USER}:\n",
    "etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
}

# What changes seldom first, so that a new build is a small pull.
LAYERS = (("the C library and its neighbours", ("etc", "lib", "lib64", "proc", "sys", "dev", "tmp", "usr/lib", LIBRARIES)),
          ("the demo model", (f"{HOME}/models",)),
          ("the programs", (BIN, HOME)))


def lay_out(bundle, folder):
    """Fills the empty `folder` with the files of an unpacked bundle."""
    bundle, folder = pathlib.Path(bundle), pathlib.Path(folder)
    for name in ("proc", "sys", "dev", "tmp", "etc", BIN, C_LIBRARY, LIBRARIES, f"{HOME}/models"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for name, text in TEXTS.items():
        (folder / name).write_text(text)
    # Where programs look for their loader, and where everything really is.
    (folder / "lib").symlink_to("usr/lib")
    (folder / "lib64").symlink_to("usr/lib/x86_64-linux-gnu")
    for program in sorted((bundle / "libexec").glob("baton*")):
        shutil.copy(program, folder / BIN / program.name)
    for path in sorted((bundle / "lib").iterdir()):
        if path.name == "c-library":
            for library in sorted(path.glob("*.so*")):
                shutil.copy(library, folder / C_LIBRARY / library.name)
        elif path.is_dir():
            shutil.copytree(path, folder / LIBRARIES / path.name, symlinks=True)
        else:
            shutil.copy(path, folder / LIBRARIES / path.name)
    shutil.copytree(bundle / "models", folder / HOME / "models", dirs_exist_ok=True)
    set_modes(folder)


def set_modes(folder):
    """Of everybody to read, of nobody to write; whatever umask this runs under."""
    for base, folders, files in os.walk(folder):
        for name in folders:
            path = pathlib.Path(base) / name
            if not path.is_symlink():
                path.chmod(0o1777 if path == pathlib.Path(folder) / "tmp" else 0o755)
        for name in files:
            path = pathlib.Path(base) / name
            if not path.is_symlink():
                runs = path.stat().st_mode & stat.S_IXUSR
                path.chmod(0o755 if runs else 0o644)


def layers(folder):
    """(what it is, sorted paths relative to `folder`) of each layer; together every path, once."""
    folder = pathlib.Path(folder)
    every = sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))
    taken = set()
    for title, beginnings in LAYERS:
        chosen = [path for path in every if path not in taken and any(
            path == begin or path.startswith(begin + "/") or begin.startswith(path + "/") for begin in beginnings)]
        taken.update(chosen)
        yield title, chosen
    assert taken == set(every), f"in no layer: {sorted(set(every) - taken)}"
