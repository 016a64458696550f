"""Answers that follow a grammar: JSON, a JSON schema, or calls of tools.

llguidance says which tokens may come next; here are the grammars that it is given.
"""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from llguidance import LLMatcher, LLParserLimits, LLTokenizer, TokenizerWrapper
from numpy.typing import NDArray

from orin_llm.text.schema_limits import MOST_PROPERTIES, GrammarError, checked_json
from orin_llm.text.tokenizer import Tokenizer
from orin_llm.text.tools import ToolStyle

# Pretty-printed JSON is allowed, but no model can get lost in white space.
_JSON = {"whitespace_pattern": r"\n[ \t]{0,40}| ", "coerce_one_of": True}
# As Python's json.dumps writes: models are trained on calls like that.
_ARGUMENTS = {
    "whitespace_flexible": False,
    "item_separator": ", ",
    "key_separator": ": ",
    "coerce_one_of": True,
}
LARGEST_TOOLS = 256 << 10  # characters of all their schemas
MOST_TOOLS = 256
# OpenAI's names, and those with which other servers divide them.
_NAME = re.compile(r"[A-Za-z0-9_.:/-]{1,128}")
# A lexer's state takes up to 2 kB; by default there may be five times as many.
_MOST_LEXER_STATES = 50_000
# Four for each optional property that may come next.
_MOST_ITEMS = 4 * MOST_PROPERTIES + 1000


class Following:
    """The constraint of one answer, and where in its grammar that is.

    A grammar can become too complex on the way. Then the answer ends where it is, and `failure`
    says why in one line.
    """

    failure: str | None = None

    def __init__(self, matcher: LLMatcher, vocab: int, stops: list[int]) -> None:
        self._matcher, self._vocab, self._stops = matcher, vocab, stops
        self._ended = False

    def allowed(self) -> NDArray[np.bool_]:
        """Which tokens (vocab) may come next; stop tokens where the answer may end."""
        mask = np.frombuffer(self._matcher.compute_bitmask(), np.uint8)
        if self._failed():
            only = np.full(self._vocab, not self._stops)
            only[self._stops] = True
            return only
        bits = np.unpackbits(mask, count=self._vocab + 1, bitorder="little").view(np.bool_)
        bits[self._stops] = bits[self._vocab]
        return bits[: self._vocab]

    def accept(self, token: int) -> None:
        """Go on with `token`, which was allowed."""
        if token in self._stops:
            self._ended = True
        elif not self.failure:
            self._matcher.consume_token(token)
            self._failed()

    @property
    def finished(self) -> bool:
        return self._ended or self._matcher.is_stopped()

    def _failed(self) -> bool:
        if self._matcher.is_error() and not self.failure:
            reason = " ".join(_reason(self._matcher.get_error()).split())
            self.failure = f"the schema cannot be followed any further: {reason}"[:300]
        return self.failure is not None


class Grammars:
    """Makes grammars for one tokenizer. Any thread may; a schema of 60 kB can take a second."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._vocab = tokenizer.vocab
        self._stops = sorted(tokenizer.stop_tokens)
        self._tokenizer = LLTokenizer(TokenizerWrapper(_Tokens(tokenizer)))
        self._limits = LLParserLimits(
            max_lexer_states=_MOST_LEXER_STATES,
            max_items_in_row=_MOST_ITEMS,
            verbose_errors=False,
        )

    def json_object(self) -> Following:
        """Any JSON object."""
        return self.json_schema({"type": "object"})

    def json_schema(self, schema: dict[str, Any]) -> Following:
        """JSON that is valid by `schema`, its properties in the order that it has them; of `oneOf`
        more than one may hold. Raises GrammarError for a schema that is not supported, wrong,
        beyond the limits, or that nothing satisfies."""
        return self._constraint(f"start: %json {checked_json(_with(schema, _JSON))}\n")

    def tools(
        self,
        tools: list[dict[str, Any]],
        choice: str | dict[str, Any],
        style: ToolStyle,
        parallel: bool,
    ) -> Following | None:
        """Calls of `tools`, in OpenAI's form, as `style` writes them.

        `choice` is OpenAI's tool_choice: "none" is no constraint, "auto" free text in which a begun
        call must be completed, "required" calls only, {"type": "function", "function": {"name":
        ...}} one call of that function. More than one call only if `parallel`.

        Arguments follow a function's schema, of which keywords that are not supported are ignored,
        except when it is `strict`. Raises GrammarError.
        """
        functions = _functions(tools)
        if isinstance(choice, Mapping):
            name = _named(choice)
            functions = {key: value for key, value in functions.items() if key == name}
            if not functions:
                raise GrammarError(f"tool_choice: no tool is called {name!r}")
            parallel = False
        elif choice not in ("none", "auto", "required"):
            raise GrammarError(f"tool_choice: {choice!r} is none of none, auto and required")
        if choice == "none" or not (functions or choice == "required"):
            return None
        if not functions:
            raise GrammarError("tool_choice: required, but there are no tools")
        rules = style.rules(list(functions), parallel=parallel, free=choice == "auto")
        arguments = [
            f"arguments_{index}: %json {schema}" for index, schema in enumerate(functions.values())
        ]
        return self._constraint("\n".join([*rules, *arguments, ""]))

    def _constraint(self, grammar: str) -> Following:
        matcher = LLMatcher(self._tokenizer, grammar, log_level=0, limits=self._limits)
        if matcher.is_error():
            raise GrammarError(f"the schema cannot be followed: {_reason(matcher.get_error())}")
        return Following(matcher, self._vocab, self._stops)


class _Tokens:
    """A vocabulary as llguidance wants it, with a last token of its own for the answer's end: a
    model may have several stop tokens, or none."""

    bos_token_id = None

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokens = [*map(tokenizer.token_bytes, range(tokenizer.vocab)), b"<end>"]
        self.eos_token_id = tokenizer.vocab
        self.special_token_ids = [*sorted(tokenizer.controls), tokenizer.vocab]
        self._tokenizer = tokenizer

    def __call__(self, text: str | bytes) -> list[int]:
        text = text.decode() if isinstance(text, bytes) else text
        return self._tokenizer.encode(text, continues=True)


def _reason(error: str) -> str:
    """An error without its place in the grammar, which whoever sent a schema does not know."""
    return re.sub(r"^at \d+\(\d+\): |\n\d+ \| .*", "", error, flags=re.DOTALL)


def _with(schema: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    if not isinstance(schema, Mapping):
        raise GrammarError(f"a schema is an object, not {type(schema).__name__}")
    return {**schema, "x-guidance": options}


def _functions(tools: list[dict[str, Any]]) -> dict[str, str]:
    """The arguments' schema of every function by its name."""
    if len(tools) > MOST_TOOLS:
        raise GrammarError(f"tools: {len(tools)} are more than {MOST_TOOLS}")
    functions: dict[str, str] = {}
    for index, tool in enumerate(tools):
        function = tool.get("function") if isinstance(tool, Mapping) else None
        name = function.get("name") if isinstance(function, Mapping) else None
        if not isinstance(function, Mapping) or not isinstance(name, str):
            raise GrammarError(f"tools[{index}]: no function with a name")
        if not _NAME.fullmatch(name):
            raise GrammarError(f"tools[{index}]: {name[:80]!r} is no name of a function")
        if name in functions:
            raise GrammarError(f"tools[{index}]: a second function called {name!r}")
        schema = function.get("parameters")
        schema = {} if schema is None else schema
        try:
            options = _ARGUMENTS | ({} if function.get("strict") else {"lenient": True})
            whole = _with(schema, options)
            if whole.setdefault("type", "object") != "object":
                raise GrammarError("its parameters are no object")
            functions[name] = checked_json(whole)
        except GrammarError as error:
            raise GrammarError(f"tools[{index}], {name!r}: {error}") from None
    if sum(map(len, functions.values())) > LARGEST_TOOLS:
        raise GrammarError(f"tools: their schemas have more than {LARGEST_TOOLS} characters")
    return functions


def _named(choice: Mapping[str, Any]) -> str:
    function = choice.get("function")
    name = function.get("name") if isinstance(function, Mapping) else None
    if not isinstance(name, str):
        raise GrammarError("tool_choice: an object has to name a function")
    return name
