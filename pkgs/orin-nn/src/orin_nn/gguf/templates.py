"""Chat templates (Jinja) to go with random weights, in the style of the models of an architecture.

They take what templates in GGUF files take: `messages`, `tools`, `add_generation_prompt`,
`bos_token`, and the function `raise_exception`.
"""

# LLaMA 3: a header before each turn; a call is a JSON object in the assistant's place.
_LLAMA3 = """\
{%- macro turn(role, text) %}
    {{- '<|start_header_id|>' ~ role ~ '<|end_header_id|>\\n\\n' ~ text ~ '<|eot_id|>' }}
{%- endmacro %}
{{- bos_token }}
{%- if tools %}
    {%- set listed %}
        {{- 'To call a function, answer with {"name": its name, "parameters": its arguments}.' }}
        {%- for tool in tools %}
            {{- '\\n\\n' ~ tool | tojson(indent=4) }}
        {%- endfor %}
    {%- endset %}
    {{- turn('system', listed) }}
{%- endif %}
{%- for message in messages %}
    {%- if message.role in ('tool', 'ipython') %}
        {{- turn('ipython', message.content) }}
    {%- elif message.tool_calls %}
        {%- if message.tool_calls | length > 1 %}
            {{- raise_exception('This model calls one function at a time.') }}
        {%- endif %}
        {%- set call = message.tool_calls[0].function %}
        {%- set given = call.arguments %}
        {%- set given = given if given is string else given | tojson %}
        {{- turn('assistant', '{"name": "' ~ call.name ~ '", "parameters": ' ~ given ~ '}') }}
    {%- elif message.role in ('system', 'user', 'assistant') %}
        {{- turn(message.role, (message.content or '') | trim) }}
    {%- else %}
        {{- raise_exception('Unknown role: ' ~ message.role) }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%- endif %}
"""

# ChatML, with functions and calls between tags as the Hermes models write them.
_HERMES = """\
{%- macro turn(role, text) %}
    {{- '<|im_start|>' ~ role ~ '\\n' ~ text ~ '<|im_end|>\\n' }}
{%- endmacro %}
{%- if tools %}
    {%- set listed %}
        {{- 'You may call functions. They are:\\n<tools>' }}
        {%- for tool in tools %}
            {{- '\\n' ~ tool | tojson }}
        {%- endfor %}
        {{- '\\n</tools>\\nWrite each call as a JSON object between tags:\\n' }}
        {{- '<tool_call>\\n{"name": <its name>, "arguments": <an object>}\\n</tool_call>' }}
    {%- endset %}
    {{- turn('system', listed) }}
{%- endif %}
{%- for message in messages %}
    {%- if message.role == 'tool' %}
        {{- turn('user', '<tool_response>\\n' ~ message.content ~ '\\n</tool_response>') }}
    {%- elif message.role == 'assistant' %}
        {%- set said %}
            {{- message.content or '' }}
            {%- for each in message.tool_calls or [] %}
                {%- set call = each.function %}
                {%- set given = call.arguments %}
                {%- set given = given if given is string else given | tojson %}
                {{- '\\n' if message.content or not loop.first }}
                {{- '<tool_call>\\n{"name": "' ~ call.name ~ '", "arguments": ' ~ given ~ '}' }}
                {{- '\\n</tool_call>' }}
            {%- endfor %}
        {%- endset %}
        {{- turn('assistant', said) }}
    {%- elif message.role in ('system', 'user') %}
        {{- turn(message.role, message.content) }}
    {%- else %}
        {{- raise_exception('Unknown role: ' ~ message.role) }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
{%- endif %}
"""

CHAT_TEMPLATES = {"llama": _LLAMA3, "qwen3": _HERMES}
