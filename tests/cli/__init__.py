"""Tests of the command line, one file per command."""

import pytest

pytest.register_assert_rewrite("tests.cli.helpers")
