"""The reference is what the sources say, and nothing public is left out of it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
sys.path.append(str(ROOT / "tools"))

import reference


def test_the_page_is_what_its_sources_say() -> None:
    assert reference.DOCUMENT.read_text() == reference.document(), "run `make reference`"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A project with one variable, one role and its specification."""
    write(tmp_path / "group_vars/all/project.yml", "project_root: /opt/x\n")
    write(tmp_path / "roles/reset/defaults/main.yml", 'reset_root: "{{ project_root }}"\n')
    write(
        tmp_path / "roles/reset/meta/argument_specs.yml",
        "argument_specs: {main: {options: {reset_root: {description: The root., type: path}}}}\n",
    )
    return tmp_path


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_a_variable_takes_its_words_from_the_role_that_takes_it(tree: Path) -> None:
    assert "| `project_root` | path | `/opt/x` | The root. |" in reference.variables(tree)


def test_a_variable_that_no_role_takes_is_undocumented(tree: Path) -> None:
    write(tree / "group_vars/all/project.yml", "project_root: /opt/x\nproject_new: 1\n")
    with pytest.raises(reference.Undocumented, match="project_new"):
        reference.variables(tree)


def test_an_input_without_a_specification_is_undocumented(tree: Path) -> None:
    write(tree / "roles/reset/defaults/main.yml", 'reset_root: "{{ project_root }}"\nreset_new: 1\n')
    with pytest.raises(reference.Undocumented, match="reset_new"):
        reference.variables(tree)


def test_an_option_without_a_description_is_undocumented() -> None:
    with pytest.raises(reference.Undocumented):
        reference.meaning({"type": "str"})
