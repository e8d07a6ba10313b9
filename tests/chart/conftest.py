import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

from render import HELM, TOOLS, VALUES, Objects, template  # noqa: E402

NO_TOOLS = "tests/chart/tools.sh brings what is missing"


@pytest.fixture(scope="session")
def needs_helm():
    if not HELM.exists() or not (TOOLS / "python/yaml").is_dir():
        pytest.skip(f"no Helm or no YAML: {NO_TOOLS}")


@pytest.fixture(scope="session", params=[None, *VALUES], ids=lambda path: path.stem if path else "defaults")
def objects(request, needs_helm):
    """What Helm makes of the defaults and of each set of values."""
    done = template(*(["--values", request.param] if request.param else []))
    assert done.returncode == 0, done.stderr
    return Objects(done.stdout)


@pytest.fixture
def render(needs_helm):
    def with_values(*settings):
        done = template(*(word for setting in settings for word in ("--set-json", setting)))
        assert done.returncode == 0, done.stderr
        return Objects(done.stdout)
    return with_values
