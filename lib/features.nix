# What each flag of mkSystem turns on: the module `orin.<option>`, and the flags it brings along.
# A new feature is one line here beside its folder in modules/.
let
  feature = option: implies: { inherit option implies; };
in
{
  containers = feature "containers" [ ];
  perf = feature "performance" [ ];
  llama = feature "llama" [ "perf" ]; # a server that decodes on unpinned clocks stutters
  llm = feature "llm" [ "perf" ];
  mlc = feature "mlc" [
    "perf"
    "containers"
  ];
  tabby = feature "tabby" [ "perf" ];
  telemetry = feature "telemetry" [ ];
  vllm = feature "vllm" [
    "perf"
    "containers"
  ];
}
