# modules/telemetry on a machine whose sysfs is the simulator's: readings arrive in Prometheus, the
# throttling of a board that overheats raises its alert, and Grafana shows the dashboards to this
# machine alone.
self:
let
  board = "/run/jetson-sim";
  dashboards = builtins.length (
    builtins.filter (file: builtins.match ".*\\.json" file != null) (
      builtins.attrNames (builtins.readDir ../../modules/telemetry/dashboards)
    )
  );
in
{
  name = "telemetry";

  # The machine's packages are those of its modules' overlays.
  node.pkgsReadOnly = false;

  nodes.machine =
    { config, lib, ... }:
    {
      imports = [ self.nixosModules.default ];

      virtualisation.memorySize = 2048;

      orin.telemetry = {
        enable = true;
        scrapeInterval = 1;
        otlp.enable = true;
        exporter.extraFlags = [
          "--path.sysfs"
          "${board}/sys"
          "--path.procfs"
          "${board}/proc"
          "--path.rootfs"
          board
        ];
      };

      systemd.services.jetson-sim = {
        wantedBy = [ "multi-user.target" ];
        after = [ "prometheus.service" ]; # which must not miss what happens to the board
        before = [ "jetson-exporter.service" ];
        postStart = "until [[ -d ${board}/sys/class && -d ${board}/proc ]]; do sleep 0.1; done";
        serviceConfig = {
          ExecStart = "${lib.getExe' config.orin.telemetry.package "jetson-sim"} ${board} --scenario thermal-runaway --seed 1";
          RuntimeDirectory = baseNameOf board;
        };
      };
    };

  testScript = ''
    import json
    import time
    from urllib.parse import quote


    def url(expression: str) -> str:
        return f"'http://127.0.0.1:9090/api/v1/query?query={quote(expression)}'"


    def wait_for_data(expression: str) -> None:
        machine.wait_until_succeeds(f"curl --fail --silent {url(expression)} | grep '\"value\"'")


    machine.wait_for_unit("multi-user.target")

    with subtest("the exporter reads the board"):
        machine.wait_for_unit("jetson-exporter.service")
        metrics = machine.succeed("curl --fail --silent http://127.0.0.1:9460/metrics")
        assert 'jetson_thermal_zone_celsius{zone="tj"}' in metrics, metrics

    with subtest("Prometheus scrapes all three under the board's name"):
        machine.wait_for_unit("prometheus.service")
        wait_for_data('count(up{instance="machine"} == 1) == 3')
        wait_for_data("instance:jetson_thermal_zone_celsius:max")

    with subtest("Grafana shows every dashboard without a login, and finds Prometheus"):
        machine.wait_for_unit("grafana.service")
        machine.wait_for_open_port(3000)
        grafana = "http://127.0.0.1:3000/api"
        # Grafana reads its dashboards after it has begun to answer.
        machine.wait_until_succeeds(
            f"curl --fail --silent '{grafana}/search?type=dash-db'"
            " | grep --only-matching '\"type\":\"dash-db\"' | wc --lines"
            " | grep --line-regexp ${toString dashboards}"
        )
        secrets = "/var/lib/grafana-secrets"
        machine.wait_until_succeeds(
            f"curl --fail --silent --user admin:$(cat {secrets}/admin-password)"
            f" {grafana}/datasources/uid/prometheus/health | grep OK"
        )

    with subtest("Grafana's secrets are its own, and made once"):
        owners = machine.succeed(f"stat --format='%a %U' {secrets}/*").split("\n")
        assert set(owners) == {"600 grafana", ""}, owners
        before = machine.succeed(f"sha256sum {secrets}/*")
        machine.succeed("systemctl restart grafana-secrets.service")
        assert machine.succeed(f"sha256sum {secrets}/*") == before

    with subtest("metrics of an application arrive over OTLP"):
        machine.wait_for_open_port(4318)
        metric = {
            "resource": {
                "attributes": [{"key": "service.name", "value": {"stringValue": "robot"}}]
            },
            "scopeMetrics": [
                {
                    "metrics": [
                        {
                            "name": "robot_speed",
                            "gauge": {
                                "dataPoints": [
                                    {"asDouble": 1.5, "timeUnixNano": str(time.time_ns())}
                                ]
                            },
                        }
                    ]
                }
            ],
        }
        body = json.dumps({"resourceMetrics": [metric]})
        machine.succeed(
            "curl --fail --silent --header 'Content-Type: application/json'"
            f" --data '{body}' http://127.0.0.1:4318/v1/metrics"
        )
        wait_for_data('robot_speed{job="robot", instance="machine"}')

    with subtest("nobody else can connect"):
        for line in machine.succeed("ss -Hltn").splitlines():
            assert line.split()[3].startswith(("127.", "[::1]")), line

    with subtest("the services are sandboxed"):
        machine.succeed(
            "systemd-analyze security --no-pager --threshold=20 jetson-exporter.service",
            "systemd-analyze security --no-pager --threshold=20 grafana-secrets.service",
        )

    with subtest("a board that overheats throttles and raises the alert"):
        # The simulated board recovers, so what it went through counts.
        wait_for_data("max_over_time(jetson_throttling[1h]) == 1")
        wait_for_data(
            'max_over_time(ALERTS{alertname="JetsonThrottling", alertstate="firing"}[1h])'
        )
  '';
}
