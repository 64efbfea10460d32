"""Texts of alerts in Go's template language: what Prometheus and Grafana read alike."""

from collections.abc import Callable, Mapping
from string import Formatter

from monitor.rules.facts import Asked, Chosen, Fact, Own


def filled(text: str, facts: Mapping[str, str]) -> str:
    """The text with its facts put in, and whatever else it holds left as it is."""
    done, plain = "", ""
    for part, name, _, _ in Formatter().parse(text):
        plain += part  # a doubled brace ends a part, and what must be escaped may lie on both sides of it
        if name is not None:
            done += escaped_for_template(plain) + facts[name]
            plain = ""
    return done + escaped_for_template(plain)


def escaped_for_template(text: str) -> str:
    """Text of the journey file that a template must not take for its own."""
    return text.replace("{{", '{{ "{{" }}')


def template(fact: Fact, asked: Callable[[Asked], str]) -> str:
    """What writes a fact; `asked` begins one that is asked of Prometheus, of which nothing may be found."""
    if isinstance(fact, Own):
        return f"{{{{ $labels.{fact.label} }}}}"
    if isinstance(fact, Chosen):
        return _chosen(fact)
    return asked(fact) + (f"{{{{ else }}}}{fact.otherwise}" if fact.otherwise else "") + "{{ end }}"


def _chosen(fact: Chosen) -> str:
    """The first text whose labels the alert has; the last, if it has none of them."""
    *some, (_, last) = fact.texts
    found = ""
    for pairs, text in some:
        tests = [f'eq $labels.{label} "{value}"' for label, value in pairs.items()]
        test = tests[0] if len(tests) == 1 else "and " + " ".join(f"({one})" for one in tests)
        found += f"{{{{ {'else if' if found else 'if'} {test} }}}}{escaped_for_template(text)}"
    last = escaped_for_template(last)
    return f"{found}{{{{ else }}}}{last}{{{{ end }}}}" if found else last
