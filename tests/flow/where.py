"""`where` of a feature, evaluated in Python: for the oracle alone, written from the Contract and not from the C code.

Numbers are doubles. A division by zero or a NaN that is reached makes the whole condition false. Enum fields compare with names, in
any case; an attribute compares with a quoted text as text, and with a number as the number that it spells; where it is absent or
spells none, its comparison is false.
"""

import math
import re

TOKEN = re.compile(
    r"""\s*(?:(?P<number>\d+(?:\.\d*)?(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?)
        |(?P<word>[A-Za-z_][A-Za-z0-9_.]*)|(?P<text>'[^']*'|"[^"]*")|(?P<sign>==|!=|<>|<=|>=|[-+*/()\[\],<>=]))""",
    re.VERBOSE,
)
NUMBERS = {
    "event_id", "ts_ms", "user_id", "item_id", "creator_id", "room_id", "category_id", "region", "value", "duration_s",
    "request_id", "position", "propensity",
}  # fmt: skip
ENUMS = {"action", "scene"}
COMPARE = {
    "==": lambda a, b: a == b,
    "=": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
    "<>": lambda a, b: a != b,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
}


class Name(str):
    """The name of an enum's value, in lower case."""


def tokens_of(text):
    at, found = 0, []
    while text[at:].strip():
        match = TOKEN.match(text, at)
        if not match:
            raise ValueError(f"where: cannot read {text[at:]!r}")
        found.append((match.lastgroup, match.group(match.lastgroup)))
        at = match.end()
    return found + [("end", "")]


def number_of(value):
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return math.nan
    return math.nan if value is None else float(value)


def compare(sign, a, b):
    if isinstance(a, str) and isinstance(b, str):
        return COMPARE[sign](a, b)
    a, b = number_of(a), number_of(b)
    return not (math.isnan(a) or math.isnan(b)) and COMPARE[sign](a, b)


class Undefined(Exception):
    """A division by zero, or a NaN that numbers of the event gave."""


def divide(a, b):
    if b == 0:
        raise Undefined
    return a / b


def calculate(work, a, b):
    result = work(a, b)
    if math.isnan(result) and not math.isnan(a) and not math.isnan(b):
        raise Undefined
    return result


class Parser:
    """Recursive descent; every rule gives a function of the event (fields in lower snake case, enums as numbers)."""

    def __init__(self, text, action_names, scene_names):
        self.tokens, self.at = tokens_of(text), 0
        self.enum_names = {"action": action_names, "scene": scene_names}

    def peek(self):
        kind, text = self.tokens[self.at]
        return text.lower() if kind == "word" else text

    def take(self, *wanted):
        if self.tokens[self.at][0] != "text" and self.peek() in wanted:
            self.at += 1
            return self.tokens[self.at - 1][1]
        return None

    def need(self, wanted):
        if not self.take(wanted):
            raise ValueError(f"where: {wanted!r} expected, not {self.peek()!r}")

    def whole(self):
        rule = self.either()
        if self.tokens[self.at][0] != "end":
            raise ValueError(f"where: {self.peek()!r} is too much")
        return rule

    def either(self):
        parts = [self.both()]
        while self.take("or"):
            parts.append(self.both())
        return parts[0] if len(parts) == 1 else lambda event: any(part(event) for part in parts)

    def both(self):
        parts = [self.negation()]
        while self.take("and"):
            parts.append(self.negation())
        return parts[0] if len(parts) == 1 else lambda event: all(part(event) for part in parts)

    def negation(self):
        if self.take("not"):
            inner = self.negation()
            return lambda event: not inner(event)
        return self.comparison()

    def comparison(self):
        left = self.sum()
        negated = self.tokens[self.at][0] == "word" and self.peek() == "not"
        if negated:
            self.at += 1
        if self.take("in"):
            close = ")" if self.take("(") else "]" if self.take("[") else None
            if not close:
                raise ValueError("where: a list expected after 'in'")
            members = [self.sum()]
            while self.take(","):
                members.append(self.sum())
            self.need(close)
            return lambda event: any(compare("==", left(event), member(event)) for member in members) != negated
        sign = self.take(*COMPARE)
        if not sign:
            return left
        right = self.sum()
        return lambda event: compare(sign, left(event), right(event))

    def sum(self):
        left = self.product()
        while sign := self.take("+", "-"):
            left = self.arithmetic(sign, left, self.product())
        return left

    def product(self):
        left = self.factor()
        while sign := self.take("*", "/"):
            left = self.arithmetic(sign, left, self.factor())
        return left

    @staticmethod
    def arithmetic(sign, left, right):
        work = {"+": lambda a, b: a + b, "-": lambda a, b: a - b, "*": lambda a, b: a * b, "/": divide}[sign]
        return lambda event: calculate(work, number_of(left(event)), number_of(right(event)))

    def factor(self):
        if self.take("-"):
            inner = self.factor()
            return lambda event: -number_of(inner(event))
        if self.take("("):
            inner = self.either()
            self.need(")")
            return inner
        kind, text = self.tokens[self.at]
        self.at += 1
        if kind == "number":
            return lambda event: float(text)
        if kind == "text":
            return lambda event: text[1:-1]
        if kind != "word":
            raise ValueError(f"where: a value expected, not {text!r}")
        return self.word(text)

    def word(self, text):
        lower = text.lower()
        if lower.startswith("attributes."):
            key = text[len("attributes.") :]
            return lambda event: event["attributes"].get(key)
        if lower in ENUMS:
            names = self.enum_names[lower]
            return lambda event: Name(names[event[lower]])
        if lower in NUMBERS:
            return lambda event: float(event[lower])
        return lambda event: Name(lower)


def parse(text, action_names, scene_names):
    """A function of an event that says whether it matches."""
    rule = Parser(text, action_names, scene_names).whole()

    def matches(event):
        try:
            return bool(rule(event))
        except Undefined:
            return False

    return matches
