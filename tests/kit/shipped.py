"""The shipped journey file, read once for all tests: to read it takes 40 ms."""

from monitor.journey_file.grammar import parse
from streams.settings import SHIPPED_JOURNEY

SHIPPED = parse(SHIPPED_JOURNEY.read_text())
