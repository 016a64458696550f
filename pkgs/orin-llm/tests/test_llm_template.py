"""Chat templates show a conversation, and one that goes wrong spoils nothing but its request."""

import asyncio
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

import made_vocabularies as made
from orin_core.cli import UserError
from orin_llm.text.default_template import TEMPLATE
from orin_llm.text.template import ChatTemplate
from orin_llm.text.template_process import TemplateError, TemplateProcess
from orin_llm.text.tools import HERMES, LLAMA3, MISTRAL, MISTRAL_SPACED

WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}
CALL = {
    "id": "call00001",
    "type": "function",
    "function": {"name": "weather", "arguments": '{"city": "Rome"}'},
}
USER: dict[str, Any] = {"role": "user", "content": "Is it <warm>?"}
TALK: list[dict[str, Any]] = [
    {"role": "system", "content": "Be kind."},
    USER,
    {"role": "assistant", "content": None, "tool_calls": [CALL]},
    {"role": "tool", "tool_call_id": "call00001", "content": "sunny"},
    {"role": "assistant", "content": "Yes"},
]

# In the manner of real ones: headers as LLaMA 3 has them, JSON calls under "parameters".
LLAMA_LIKE = """{{- bos_token }}
{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content'] | trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system_message = '' %}
{%- endif %}
{{- '<|start_header_id|>system<|end_header_id|>\\n\\nToday is ' + strftime_now('%Y') + '\\n' }}
{{- system_message + '<|eot_id|>' }}
{%- if tools is not none %}
    {%- for tool in tools %}{{- tool | tojson(indent=4) }}{%- endfor %}
    {{- 'Answer {"name": ..., "parameters": ...}' }}
{%- endif %}
{%- for message in messages %}
    {%- if 'tool_calls' in message %}
        {%- if message.tool_calls | length != 1 %}
            {{- raise_exception('One call at once!') }}
        {%- endif %}
        {%- set call = message.tool_calls[0].function %}
        {{- '{"name": "' + call.name + '", "parameters": ' + (call.arguments | tojson) + '}' }}
    {%- else %}
        {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' }}
        {{- message['content'] | trim + '<|eot_id|>' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%- endif %}"""
# As Qwen's: backwards loops, namespaces, thoughts that are cut, and a switch for them.
QWEN_LIKE = """{%- set ns = namespace(last=messages | length - 1) %}
{%- for message in messages[::-1] %}
    {%- if message.role == 'user' and not message.content.startswith('<tool_response>') %}
        {%- set ns.last = messages | length - loop.index %}{%- break %}
    {%- endif %}
{%- endfor %}
{%- if tools %}<tools>{% for tool in tools %}{{ tool | tojson }}{% endfor %}</tools>{% endif %}
{%- for message in messages %}
    {{- '<|im_start|>' ~ message.role ~ '\\n' }}
    {%- set content = message.content.split('</think>')[-1].lstrip('\\n') %}
    {{- content if loop.index0 < ns.last else message.content }}
    {%- for call in message.tool_calls | default([]) %}
        {%- if call.function %}{%- set call = call.function %}{%- endif %}
        {{- '<tool_call>\\n{"name": "' ~ call.name ~ '", "arguments": ' }}
        {{- call.arguments if call.arguments is string else call.arguments | tojson }}
        {{- '}\\n</tool_call>' }}
    {%- endfor %}
    {{- '<|im_end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}
        {{- '<think>\\n\\n</think>\\n\\n' }}
    {%- endif %}
{%- endif %}"""
# As Mistral's: no system of its own, JSON lists of calls, strict about order and ids.
MISTRAL_LIKE = """{%- if messages[0].role == 'system' %}
    {%- set system, rest = messages[0].content, messages[1:] %}
{%- else %}{%- set system, rest = '', messages %}{%- endif %}
{{- bos_token }}
{%- if tools is not none %}{{- '[AVAILABLE_TOOLS] ' ~ (tools | tojson) }}{%- endif %}
{%- for message in rest %}
    {%- if message.role == 'user' %}{{- '[INST] ' ~ system ~ message.content ~ '[/INST]' }}
    {%- elif message.tool_calls is defined and message.tool_calls is not none %}
        {{- '[TOOL_CALLS] [' }}
        {%- for call in message.tool_calls %}
            {%- if call.id | length != 9 %}{{- raise_exception('ids have 9 letters') }}{%- endif %}
            {{- call.function | tojson ~ (']' if loop.last else ', ') }}
        {%- endfor %}
        {{- eos_token }}
    {%- elif message.role in ('assistant', 'tool') %}{{- message.content ~ eos_token }}
    {%- else %}{{- raise_exception('roles: ' ~ message.role) }}
    {%- endif %}
{%- endfor %}"""
# As Gemma's: no system, turns that must alternate, macros.
GEMMA_LIKE = """{%- macro turn(role, text) -%}
<start_of_turn>{{ role }}
{{ text | trim }}<end_of_turn>
{% endmacro -%}
{{ bos_token }}
{%- if messages[0]['role'] == 'system' %}
    {{- raise_exception('System role not supported') }}
{%- endif %}
{%- for message in messages %}
    {%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}
        {{- raise_exception('Roles must alternate user/assistant/user/assistant/...') }}
    {%- endif %}
    {{- turn('model' if message.role == 'assistant' else message.role, message.content) }}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<start_of_turn>model\\n' }}{%- endif %}"""


@pytest.fixture(scope="module")
def process() -> Iterator[TemplateProcess]:
    process = TemplateProcess()
    yield process
    process.close()


@asynccontextmanager
async def opened(source: str = TEMPLATE, tools: str | None = None) -> AsyncIterator[ChatTemplate]:
    template = ChatTemplate(source, tools, bos_token="<s>", eos_token="</s>")
    try:
        yield template
    finally:
        template.close()


def rendered(source: str, messages: list[dict[str, Any]], *tools: Any, **options: Any) -> str:
    async def run() -> str:
        async with opened(source) as template:
            return await template.render(messages, list(tools) or None, **options)

    return asyncio.run(run())


def refusal(source: str, messages: list[dict[str, Any]] | None = None, **options: Any) -> str:
    with pytest.raises(TemplateError) as caught:
        rendered(source, messages or [USER], **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_without_a_template_it_is_chatml() -> None:
    assert rendered(TEMPLATE, [USER]) == (
        "<|im_start|>user\nIs it <warm>?<|im_end|>\n<|im_start|>assistant\n"
    )
    text = rendered(TEMPLATE, TALK, WEATHER)
    assert text.startswith("<|im_start|>system\nBe kind.\n\n")
    assert '<tool_call>\n{"name": "weather", "arguments": {"city": "Rome"}}\n</tool_call>' in text
    assert "<tool_response>\nsunny\n</tool_response>" in text


def test_like_llama() -> None:
    text = rendered(LLAMA_LIKE, TALK, WEATHER)
    assert text.startswith("<s><|start_header_id|>system")
    assert '{"name": "weather", "parameters": {"city": "Rome"}}' in text
    assert "Is it <warm>?<|eot_id|>" in text
    assert text.endswith("<|start_header_id|>assistant<|end_header_id|>\n\n")
    assert '    "type": "function"' in text
    two: list[dict[str, Any]] = [USER, {"role": "assistant", "tool_calls": [CALL, CALL]}]
    assert refusal(LLAMA_LIKE, two) == "One call at once!"


def test_like_qwen() -> None:
    thought = {"role": "assistant", "content": "<think>\nhm\n</think>\n\nYes"}
    text = rendered(QWEN_LIKE, [USER, thought, USER])
    assert "hm" not in text
    assert "assistant\nYes<|im_end|>" in text
    assert rendered(QWEN_LIKE, [USER], enable_thinking=False).endswith("</think>\n\n")
    text = rendered(QWEN_LIKE, TALK, WEATHER)
    assert '{"name": "weather", "arguments": {"city": "Rome"}}\n</tool_call>' in text


def test_like_mistral() -> None:
    text = rendered(MISTRAL_LIKE, TALK, WEATHER)
    assert '[TOOL_CALLS] [{"name": "weather", "arguments": {"city": "Rome"}}]</s>' in text
    assert "[INST] Be kind.Is it <warm>?[/INST]" in text
    call: list[dict[str, Any]] = [USER, {"role": "assistant", "tool_calls": [{**CALL, "id": "x"}]}]
    assert refusal(MISTRAL_LIKE, call) == "ids have 9 letters"


def test_like_gemma() -> None:
    assert rendered(GEMMA_LIKE, [USER]) == (
        "<s><start_of_turn>user\nIs it <warm>?<end_of_turn>\n<start_of_turn>model\n"
    )
    assert refusal(GEMMA_LIKE, TALK) == "System role not supported"
    with pytest.raises(TemplateError, match="takes no tools"):
        rendered(GEMMA_LIKE, [USER], WEATHER)


def test_the_style_of_calls_is_the_templates() -> None:
    async def run() -> None:
        for source, style in (
            (TEMPLATE, HERMES),
            (LLAMA_LIKE, LLAMA3),
            (QWEN_LIKE, HERMES),
            (MISTRAL_LIKE, MISTRAL_SPACED),
            (MISTRAL_LIKE.replace("] [", "]["), MISTRAL),
            (GEMMA_LIKE, None),
        ):
            async with opened(source) as template:
                assert template.style == style

    asyncio.run(run())


def test_an_answer_is_continued_where_it_stopped() -> None:
    start = {"role": "assistant", "content": "It is "}
    for source in (TEMPLATE, LLAMA_LIKE, QWEN_LIKE, MISTRAL_LIKE, GEMMA_LIKE):
        assert rendered(source, [USER, start], continues=True).endswith("It is ")
    assert "can be continued" in refusal(TEMPLATE, [USER], continues=True)
    hidden = "{% for m in messages %}{{ m.role }}{% endfor %}"
    assert "does not show" in refusal(hidden, [USER, start], continues=True)


def test_contents_may_be_parts() -> None:
    parts = [{"type": "text", "text": "One"}, {"type": "text", "text": "two"}]
    message = {"role": "user", "content": parts}
    assert "user\nOne\ntwo<|im_end|>" in rendered(TEMPLATE, [message])
    typed = "{% for m in messages %}{% for p in m.content %}{{ p.text }}{% endfor %}{% endfor %}"
    assert rendered(typed, [message]) == "One\ntwo"
    image = {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}
    assert "'image_url': the model reads text only" in refusal(TEMPLATE, [image])
    assert "text only" in refusal(TEMPLATE, [{"role": "user", "content": [5]}])


def test_arguments_are_what_the_template_expects() -> None:
    as_text = (
        "{% for m in messages %}{% for c in m.tool_calls %}"
        "{{ 'ARGS ' + c.function.arguments }}{% endfor %}{% endfor %}"
    )
    talk: list[dict[str, Any]] = [USER, {"role": "assistant", "tool_calls": [CALL]}]
    assert rendered(as_text, talk) == 'ARGS {"city": "Rome"}'
    as_object = as_text.replace("arguments", "arguments.city")
    assert rendered(as_object, talk) == "ARGS Rome"
    broken = {**CALL, "function": {"name": "weather", "arguments": '{"city'}}
    assert '{"city' in rendered(as_text, [USER, {"role": "assistant", "tool_calls": [broken]}])


def test_the_developer_is_the_system_and_variables_arrive() -> None:
    assert "system\nhi" in rendered(TEMPLATE, [{"role": "developer", "content": "hi"}, USER])
    assert rendered("{{ mood }}{{ messages[0].content[:0] }}", [USER], mood="good") == "good"


def test_json_keeps_its_characters() -> None:
    assert rendered("{{ messages[0].content | tojson }}", [USER]) == '"Is it <warm>?"'
    umlaut = {"role": "user", "content": "ä'&"}
    assert rendered("{{ messages[0] | tojson(sort_keys=true) }}", [umlaut]) == (
        '{"content": "ä\'&", "role": "user"}'
    )


def test_generation_marks_and_loop_controls_are_known() -> None:
    source = (
        "{% for m in messages %}{% if loop.index > 1 %}{% break %}{% endif %}"
        "{% generation %}{{ m.content }}{% endgeneration %}{% endfor %}"
    )
    assert rendered(source, [USER, USER]) == USER["content"]


def test_templates_come_from_the_file(tmp_path: Path) -> None:
    def fill(*templates: tuple[str, Any]) -> Path:
        def write(writer: Any) -> None:
            writer.add_array("tokenizer.ggml.tokens", ["a", "<b>", "<e>"])
            writer.add_uint32("tokenizer.ggml.bos_token_id", 1)
            writer.add_uint32("tokenizer.ggml.eos_token_id", 2)
            for name, value in templates:
                add: Callable[[str, Any], None] = (
                    writer.add_string if isinstance(value, str) else writer.add_uint32
                )
                add(name, value)

        return made.write(tmp_path / "made.gguf", write)

    async def run(path: Path, *tools: Any) -> str:
        template = ChatTemplate.load(path)
        try:
            return await template.render([USER], list(tools) or None)
        finally:
            template.close()

    plain = ("tokenizer.chat_template", "{{ bos_token }}{{ messages[0].content }}{{ eos_token }}")
    for_tools = (
        "tokenizer.chat_template.tool_use",
        "{{ tools | length }}{{ messages[0].content }}",
    )
    assert asyncio.run(run(fill(plain))) == "<b>Is it <warm>?<e>"
    assert asyncio.run(run(fill(plain, for_tools), WEATHER)) == "1Is it <warm>?"
    assert asyncio.run(run(fill())).startswith("<|im_start|>user")
    with pytest.raises(UserError, match=r"tokenizer\.chat_template is no text"):
        ChatTemplate.load(fill(("tokenizer.chat_template", 5)))


@pytest.mark.parametrize(
    "source",
    [
        "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
        "{{ 7 ** 99999999 }}",
    ],
)
def test_a_template_that_never_ends_is_stopped(source: str) -> None:
    start = time.process_time()
    assert "took more than 1 s" in refusal(source)
    assert time.process_time() - start < 1


@pytest.mark.parametrize(
    "source",
    [
        "{{ 'a' * 9999999999 }}",
        "{{ '%09999999999d' % 1 }}",
        "{% set n = namespace(x='a') %}{% for i in range(60) %}{% set n.x = n.x * 9 %}{% endfor %}",
        "{{ [0] * 9999999999 }}",
    ],
)
def test_a_template_that_eats_memory_is_stopped(source: str) -> None:
    assert "512 MiB" in refusal(source)


@pytest.mark.parametrize(
    "source",
    [
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
        "{{ messages[0].__class__ }}{{ lipsum.__globals__['os'] }}",
        "{{ messages.append(1) }}",
        "{{ messages[0].update(role='x') }}",
        "{% include '/etc/passwd' %}",
        "{% import 'os' as os %}",
        "{{ '{0.__class__.__init__.__globals__}'.format(messages) }}",
        "{{ range(999999999) }}",
        "{{ undefined.thing }}",
        "{{ 1 / 0 }}",
        "{{ none() }}",
        "{% if %}",
        "{% for x in %}{% endfor %}",
        "{{ " + "(" * 3000 + "1" + ")" * 3000 + " }}",
        "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
        "{% if 1 %}" * 3000,
        "{{ raise_exception('no\nthanks\x00') }}",
        "{{ messages | tojson(indent='x' * 5, separators=5) }}",
        "{{ strftime_now(5) }}",
        "{{ tojson }}{{ messages | nothing }}",
    ],
)
def test_hostile_templates_are_errors_of_one_line(source: str, process: TemplateProcess) -> None:
    variables = {"messages": [USER], "tools": None}
    with pytest.raises(TemplateError) as caught:
        asyncio.run(process.render(source, variables))
    assert str(caught.value)
    assert "\n" not in str(caught.value)
    assert asyncio.run(process.render("{{ messages[0].role }}", variables)) == "user"


def test_the_next_request_finds_a_process_again() -> None:
    async def run() -> None:
        source = "{{ 'a' * 9999999999 if messages[0].content == 'eat' else messages[0].content }}"
        async with opened(source) as template:
            assert await template.render([USER]) == USER["content"]
            eat = {"role": "user", "content": "eat"}
            several = [template.render([message]) for message in (USER, eat, USER, eat, USER)]
            results = await asyncio.gather(*several, return_exceptions=True)
            assert [result for result in results if isinstance(result, str)] == [
                USER["content"]
            ] * 3
            assert sum(isinstance(result, TemplateError) for result in results) == 2

    asyncio.run(run())


def test_a_request_that_is_given_up_disturbs_no_other() -> None:
    async def run() -> None:
        async with opened("{{ messages[0].content }}") as template:
            await template.render([USER])
            tasks = [
                asyncio.create_task(template.render([{"role": "user", "content": str(number)}]))
                for number in range(20)
            ]
            await asyncio.sleep(0)
            for task in tasks[::2]:
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
            assert results[1::2] == [str(number) for number in range(1, 20, 2)]

    asyncio.run(run())


def test_large_conversations_pass() -> None:
    long = {"role": "user", "content": "é\n" * 500_000}
    assert len(rendered(TEMPLATE, [long])) > 1_000_000


def test_what_is_no_json_is_refused() -> None:
    assert "is no JSON" in refusal(TEMPLATE, [{"role": "user", "content": "a", "x": object()}])
    deep: list[Any] = []
    for _ in range(5000):
        deep = [deep]
    nested = [{"role": "user", "content": "a", "x": deep}]
    assert "is no JSON" in refusal(TEMPLATE, nested)
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(20_000)  # the worker's stays
    try:
        assert "is no JSON" in refusal(TEMPLATE, nested)
    finally:
        sys.setrecursionlimit(limit)


def test_the_worker_imports_little() -> None:
    program = (
        "import sys, orin_llm.text.template_worker; "
        "print([name for name in ('tinygrad', 'numpy', 'fastapi', 'llguidance') "
        "if name in sys.modules])"
    )
    assert subprocess.check_output([sys.executable, "-c", program], text=True) == "[]\n"
