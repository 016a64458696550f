"""The chat template for files that bring none: ChatML, with tools as Hermes calls them."""

TEMPLATE = r"""
{%- if tools or messages[0].role == 'system' %}
    {{- '<|im_start|>system\n' }}
    {%- if messages[0].role == 'system' %}
        {{- messages[0].content }}
    {%- endif %}
    {%- if tools %}
        {{- '\n\nThese functions can be called, one JSON object a line:\n<tools>\n' }}
        {%- for tool in tools %}
            {{- (tool.function | tojson) ~ '\n' }}
        {%- endfor %}
        {{- '</tools>\nTo call one, write\n<tool_call>\n' }}
        {{- '{"name": NAME, "arguments": ARGUMENTS}\n</tool_call>' }}
    {%- endif %}
    {{- '<|im_end|>\n' }}
{%- endif %}
{%- for message in messages %}
    {%- if message.role == 'tool' %}
        {{- '<|im_start|>user\n<tool_response>\n' ~ message.content ~ '\n</tool_response>' }}
        {{- '<|im_end|>\n' }}
    {%- elif not (loop.first and message.role == 'system') %}
        {{- '<|im_start|>' ~ message.role ~ '\n' ~ message.content }}
        {%- for call in message.tool_calls or [] %}
            {{- '\n' if message.content or not loop.first }}
            {{- '<tool_call>\n{"name": ' ~ (call.function.name | tojson) ~ ', "arguments": ' }}
            {{- (call.function.arguments | tojson) ~ '}\n</tool_call>' }}
        {%- endfor %}
        {{- '<|im_end|>\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\n' }}
{%- endif %}
""".strip()
