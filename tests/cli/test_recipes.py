"""Recipes by name, and files of the user's."""

import pytest

from fsdet.cli import recipes
from fsdet.errors import InputError


@pytest.mark.parametrize("name", ["voc", "voc.yaml", "configs/voc.yaml"])
def test_a_recipe_is_found_by_name_in_any_folder(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert recipes.find(name) == recipes.FOLDER / "voc.yaml"
    (tmp_path / "voc").mkdir()  # a data set of the same name
    assert recipes.find(name) == recipes.FOLDER / "voc.yaml"


def test_a_file_of_the_user_comes_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "voc.yaml").write_text("")
    assert recipes.find("voc.yaml").resolve() == tmp_path / "voc.yaml"


@pytest.mark.parametrize("name", ["vok", "benchmark/shape"])
def test_other_names_are_refused_with_the_nearest_recipe(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=f"no configuration file '{name}'.*did you mean"):
        recipes.find(name)


def test_no_path_leads_out_of_the_folder_of_recipes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="no configuration file"):
        recipes.find("../configs/voc")
