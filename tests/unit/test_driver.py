"""A URL of Postgres names the driver that is installed, whoever reads it."""

from __future__ import annotations

import pytest

from resources.settings import Settings
from touchline.library.driver import with_driver

WANTED = "postgresql+psycopg2://user:word@host:5432/name?sslmode=require"


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg", "postgresql+psycopg2"])
def test_every_spelling_of_a_postgres_url_gets_the_installed_driver(scheme: str) -> None:
    given = WANTED.replace("postgresql+psycopg2", scheme)
    assert with_driver(given) == WANTED
    assert Settings.from_environment({"TOUCHLINE_POSTGRES_URL": given}).postgres_url == WANTED


@pytest.mark.parametrize("url", ["", "mysql://host/name", "postgres-of-mine", "http://host/?to=postgres://other"])
def test_what_is_no_postgres_url_is_left_to_whoever_refuses_it(url: str) -> None:
    assert with_driver(url) == url
