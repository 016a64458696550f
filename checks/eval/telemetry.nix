# modules/telemetry: the units as systemd reads them, what Prometheus and Grafana are told, and what is
# refused.
{
  lib,
  configure,
  contains,
  hasLines,
  refuses,
  unit,
  ...
}:
let
  folder = ../../modules/telemetry;
  telemetry = configure { telemetry = true; };
  with' = settings: telemetry { orin.telemetry = settings; };

  default = telemetry { };
  privileged = with' { exporter.privileged = true; };
  # Everything that can be asked for, at once.
  asked = telemetry {
    networking.hostName = "arm-1";
    orin.telemetry = {
      exporter = {
        listenAddress = "::";
        port = 9461;
        extraFlags = [ "--no-collector.nvme" ];
      };
      grafana = {
        listenAddress = "0.0.0.0";
        adminPasswordFile = "/run/secrets/grafana";
      };
      openFirewall = true;
      otlp.enable = true;
      remoteWrite = [
        {
          url = "https://mimir.example.org/api/v1/push";
          basic_auth = {
            username = "robots";
            password_file = "/run/secrets/mimir";
          };
        }
      ];
      retention.time = "1w";
      retention.size = "1GB";
      scrapeInterval = 2;
    };
  };

  exporter = unit default "jetson-exporter.service";
  execStart =
    arguments:
    ''ExecStart="${lib.getExe' default.orin.telemetry.package "jetson-exporter"}" ${arguments}'';

  # config -> { <job> = target; }, where each has one.
  targets =
    config:
    lib.listToAttrs (
      map (
        job: lib.nameValuePair job.job_name (lib.head (lib.head job.static_configs).targets)
      ) config.services.prometheus.scrapeConfigs
    );

  baseNames = map (path: baseNameOf (toString path));
  filesOf =
    extension: path: lib.filter (lib.hasSuffix extension) (lib.attrNames (builtins.readDir path));

  grafana = default.services.grafana.settings;
  ports =
    config: lib.intersectLists [ 3000 9090 9100 9460 9461 ] config.networking.firewall.allowedTCPPorts;
in
{
  "the exporter listens on this machine only, and says when" = hasLines [
    (execStart ''"--web.listen-address" "127.0.0.1:9460"'')
    "IPAddressAllow=localhost"
    "IPAddressDeny=any"
    "Type=notify"
  ] exporter;
  "the exporter is a user without rights, that reads the kernel's files" = hasLines [
    "AmbientCapabilities="
    "CapabilityBoundingSet="
    "DynamicUser=true"
    "MemoryMax=128M"
    "NoNewPrivileges=true"
    "PrivateDevices=true"
    "PrivateUsers=true"
    "ProcSubset=all"
    "ProtectKernelTunables=true"
    "ProtectSystem=strict"
    "SystemCallFilter=~@privileged"
  ] exporter;
  "debugfs takes one capability, and is read only where asked" =
    !contains "collector.nvmap" exporter
    && hasLines [
      (execStart ''"--web.listen-address" "127.0.0.1:9460" "--collector.nvmap" "--collector.actmon" "--collector.bpmp"'')
      "AmbientCapabilities=CAP_DAC_READ_SEARCH"
      "CapabilityBoundingSet=CAP_DAC_READ_SEARCH"
      "DynamicUser=true"
      "PrivateUsers=false"
    ] (unit privileged "jetson-exporter.service");
  "the exporter knows the power mode that perf sets" =
    let
      perf = configure {
        perf = true;
        telemetry = true;
      };
    in
    contains ''"--power-mode.expected" "30W"'' (
      unit (perf { orin.performance.powerMode = "30W"; }) "jetson-exporter.service"
    )
    && !contains "--power-mode.expected" (
      unit (perf { orin.performance.powerMode = null; }) "jetson-exporter.service"
    )
    && !contains "--power-mode.expected" exporter;
  "address, port and flags of the exporter are the owner's" =
    hasLines [ (execStart ''"--web.listen-address" "[::]:9461" "--no-collector.nvme"'') ] (
      unit asked "jetson-exporter.service"
    )
    && !contains "IPAddressDeny" (unit asked "jetson-exporter.service");
  "node_exporter listens on this machine only, and reads no thermal zone" =
    let
      text = unit default "prometheus-node-exporter.service";
    in
    contains "--web.listen-address 127.0.0.1:9100" text && contains "--no-collector.thermal_zone" text;
  "the owner gets jetson-top" =
    lib.elem default.orin.telemetry.package default.environment.systemPackages;

  "Prometheus listens on this machine only, within bounds of time and size" =
    let
      text = unit default "prometheus.service";
    in
    lib.all (flag: contains flag text) [
      "--web.listen-address=127.0.0.1:9090"
      "--storage.tsdb.retention.time=30d"
      "--storage.tsdb.retention.size=4GB"
    ]
    && lib.all (flag: contains flag (unit asked "prometheus.service")) [
      "--storage.tsdb.retention.time=1w"
      "--storage.tsdb.retention.size=1GB"
    ];
  "Prometheus scrapes all three" =
    targets default == {
      jetson = "127.0.0.1:9460";
      node = "127.0.0.1:9100";
      prometheus = "127.0.0.1:9090";
    };
  "Prometheus finds an exporter that listens everywhere" = (targets asked).jetson == "[::1]:9461";
  "the instance is the board's name in every job" = lib.all (
    job: (lib.head job.static_configs).labels == { instance = "arm-1"; }
  ) asked.services.prometheus.scrapeConfigs;
  "scrapes and rules have one interval, which Grafana knows" =
    let
      inherit (asked.services) grafana prometheus;
    in
    prometheus.globalConfig.scrape_interval == "2s"
    && prometheus.globalConfig.evaluation_interval == "2s"
    && (lib.head grafana.provision.datasources.settings.datasources).jsonData.timeInterval == "2s";
  "every file of rules is Prometheus', and checked" =
    baseNames default.services.prometheus.ruleFiles == filesOf ".yml" (folder + "/rules")
    && lib.elem "alerts.yml" (baseNames default.services.prometheus.ruleFiles)
    && default.services.prometheus.checkConfig == true;
  "samples go on where asked, under the board's name" =
    let
      inherit (asked.services) prometheus;
      store = lib.head prometheus.remoteWrite;
    in
    store.url == "https://mimir.example.org/api/v1/push"
    && store.basic_auth.password_file == "/run/secrets/mimir"
    && prometheus.globalConfig.external_labels == { host = "arm-1"; }
    && prometheus.checkConfig == "syntax-only"
    && default.services.prometheus.remoteWrite == [ ]
    && default.services.prometheus.globalConfig.external_labels == null;
  "an agent gets no flag of a store" =
    let
      agent = telemetry {
        services.prometheus.enableAgentMode = true;
        services.grafana.enable = false;
      };
    in
    !contains "retention" (unit agent "prometheus.service")
    && !(agent.systemd.units ? "grafana-secrets.service");

  "Grafana listens on this machine only, and shows without a login" =
    grafana.server.http_addr == "127.0.0.1" && grafana."auth.anonymous".enabled;
  "Grafana asks who is there where others can reach it" =
    asked.services.grafana.settings.server.http_addr == "0.0.0.0"
    && !asked.services.grafana.settings."auth.anonymous".enabled
    && !(telemetry { services.grafana.settings.server.http_addr = lib.mkForce "10.0.0.7"; })
    .services.grafana.settings."auth.anonymous".enabled;
  "no secret is in the store" = lib.all (lib.hasPrefix "$__file{/") [
    grafana.security.admin_password
    grafana.security.secret_key
    asked.services.grafana.settings.security.admin_password
  ];
  "secrets are made before Grafana starts, for its user alone" =
    hasLines [
      "Before=grafana.service"
      "PrivateNetwork=true"
      "StateDirectory=grafana-secrets"
      "StateDirectoryMode=0700"
      "Type=oneshot"
      "UMask=0077"
      "User=grafana"
    ] (unit default "grafana-secrets.service")
    && default.systemd.services.grafana-secrets.requiredBy == [ "grafana.service" ];
  "the owner's password file is read by systemd" =
    hasLines [ "LoadCredential=admin-password:/run/secrets/grafana" ] (unit asked "grafana.service")
    && !contains "admin-password" asked.systemd.services.grafana-secrets.script;
  "Grafana calls nobody" =
    !lib.any lib.id (lib.attrValues grafana.analytics)
    && grafana.plugins.preinstall_disabled
    && grafana.security.disable_gravatar;
  "Grafana has the dashboards, mission control first" =
    let
      inherit (lib.head default.services.grafana.provision.dashboards.settings.providers) options;
    in
    filesOf ".json" options.path == filesOf ".json" (folder + "/dashboards")
    && lib.elem (baseNameOf grafana.dashboards.default_home_dashboard_path) (
      filesOf ".json" options.path
    );
  "Grafana asks this Prometheus, by a name that dashboards can count on" =
    let
      datasource = lib.head default.services.grafana.provision.datasources.settings.datasources;
    in
    datasource.uid == "prometheus" && datasource.url == "http://127.0.0.1:9090";

  "the collector runs only where asked" =
    !default.services.opentelemetry-collector.enable
    && !contains "otlp" (unit default "prometheus.service");
  "the collector listens on this machine only, and hands on to Prometheus" =
    let
      inherit (asked.services.opentelemetry-collector) settings;
    in
    settings.receivers.otlp.protocols.grpc.endpoint == "127.0.0.1:4317"
    && settings.receivers.otlp.protocols.http.endpoint == "127.0.0.1:4318"
    && settings.exporters.otlp_http.endpoint == "http://127.0.0.1:9090/api/v1/otlp"
    && contains "--web.enable-otlp-receiver" (unit asked "prometheus.service");
  "the collector is sandboxed" = hasLines [
    "CapabilityBoundingSet="
    "MemoryMax=256M"
    "SystemCallFilter=~@privileged"
  ] (unit asked "opentelemetry-collector.service");

  "the firewall stays shut" = ports default == [ ];
  "the firewall opens for what others can reach, where asked" =
    ports asked == [
      3000
      9461
    ]
    &&
      ports (with' {
        exporter.listenAddress = "0.0.0.0";
        openFirewall = true;
      }) == [ 9460 ]
    &&
      ports (with' {
        grafana.listenAddress = "0.0.0.0";
      }) == [ ];
  "no assertion fails" = !refuses [ "orin.telemetry" ] default && !refuses [ "orin.telemetry" ] asked;
  "a firewall that would open nothing is refused" =
    refuses
      [
        "orin.telemetry.openFirewall opens nothing"
        "set orin.telemetry.grafana.listenAddress"
      ]
      (with' {
        openFirewall = true;
      });
  "a secret in clear is refused, whatever its kind" =
    lib.all
      (
        store:
        refuses [ "orin.telemetry.remoteWrite" "basic_auth.password_file" ] (with' {
          remoteWrite = [ ({ url = "https://store.example.org"; } // store) ];
        })
      )
      [
        {
          basic_auth = {
            username = "robots";
            password = "robots";
          };
        }
        { bearer_token = "robots"; }
        { sigv4.secret_key = "robots"; }
        { url = "https://robots:robots@store.example.org"; }
      ];
  "an address with a port is refused" =
    !(builtins.tryEval
      (with' { exporter.listenAddress = "127.0.0.1:9460"; }).orin.telemetry.exporter.listenAddress
    ).success;
}
