"""The ways of asking a generator for data frames, for tests of what must not mind."""

from contextlib import contextmanager
from copy import deepcopy

from sklearn import config_context, set_config


@contextmanager
def asked_globally(generator):
    set_config(transform_output="pandas")
    try:
        yield generator
    finally:
        set_config(transform_output="default")


@contextmanager
def asked_in_a_context(generator):
    with config_context(transform_output="pandas"):
        yield generator


@contextmanager
def asked_of_itself(generator):
    yield deepcopy(generator).set_output(transform="pandas")


WAYS = [asked_globally, asked_in_a_context, asked_of_itself]
