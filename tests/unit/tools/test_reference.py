"""What is written is what the sources say, and nothing public is left out of it."""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
sys.path.append(str(ROOT / "tools"))

import reference

FILES = dict(reference.files())


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_file_is_what_its_sources_say(path: Path) -> None:
    assert path.read_text() == FILES[path], "run `make reference`"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A project with two settings, and a role with two entry points."""
    write(
        tmp_path / "roles/settings/defaults/main.yml",
        """
        # About this file.

        # --- The project

        # The root.
        # type: path
        project_root: /opt/x
        # The port, and
        # its meaning.
        project_port: 1
        """,
    )
    write(tmp_path / "roles/settings/vars/main.yml", '__place: "{{ project_root }}:{{ project_port }}"')
    write(tmp_path / "roles/reset/tasks/main.yml", "- ansible.builtin.import_tasks: first.yml")
    write(tmp_path / "roles/reset/tasks/first.yml", '- project_reset: {root: "{{ project_root }}"}')
    write(tmp_path / "roles/reset/tasks/restore.yml", '- project_reset: {root: "{{ __place }}"}')
    write(
        tmp_path / "roles/reset/meta/argument_specs.yml",
        "argument_specs: {main: {short_description: Reset}, restore: {short_description: Restore}}",
    )
    return tmp_path


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(textwrap.dedent(text))


def test_a_setting_is_in_the_reference_with_its_default_and_the_type_of_that(tree: Path) -> None:
    page = reference.document(reference.groups(tree), {})
    assert "| `project_root` | path | `/opt/x` | The root. |" in page
    assert "| `project_port` | int | `1` | The port, and its meaning. |" in page


def test_an_entry_point_takes_the_settings_that_its_tasks_name(tree: Path) -> None:
    (settings,) = reference.groups(tree).values()
    derived = reference.load(tree / reference.DERIVED)
    entries = yaml.safe_load(reference.specifications(tree / "roles/reset", settings, derived))[
        "argument_specs"
    ]
    assert entries["main"]["options"] == {"project_root": {"description": "The root.", "type": "path"}}
    assert list(entries["restore"]["options"]) == ["project_root", "project_port"]


@pytest.mark.parametrize("option", [{"type": "str"}, {"type": "str", "description": ""}])
def test_an_option_without_a_description_is_undocumented(option: dict[str, str]) -> None:
    with pytest.raises(reference.Undocumented):
        reference.meaning(option)
