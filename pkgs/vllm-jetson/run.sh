# What run-vllm-docker and run-mlc-docker share, sourced by both: the options, the checks, and
# `docker run` with the flags that the NixOS modules use too (*.flags).
# shellcheck shell=bash
: "${engine:?}" "${model:?}" "${here:?}" "${listen_remedy:?}" # what the caller sets

program=run-$engine-docker
image=$(<"$here/$engine.image")
port=8000 listen=127.0.0.1 memory=48g utilization=0.6 context=8192
key_file='' dry_run='' gpu=()

fail() {
  echo "$program: $*" >&2
  exit 2
}

read_options() {
  while (($#)); do
    case $1 in
      -h | --help) usage && exit ;;
      --dry-run) dry_run=yes && shift && continue ;;
      --) shift && break ;;
      --api-key-file | --context | --image | --listen | --memory | --port | --utilization)
        (($# > 1)) || fail "$1 needs a value; --help shows an example"
        ;;
      -*) fail "unknown option $1; --help lists them, and what follows -- goes to the server" ;;
      *) model=$1 && shift && continue ;;
    esac
    case $1 in
      --api-key-file) key_file=$2 ;;
      --context) context=$2 ;;
      --image) image=$2 ;;
      --listen) listen=$2 ;;
      --memory) memory=$2 ;;
      --port) port=$2 ;;
      --utilization) utilization=$2 ;;
    esac
    shift 2
  done
  extra=("$@")

  [[ $port =~ ^[1-9][0-9]{0,4}$ && $port -lt 65536 ]] ||
    fail "--port $port is no port: give a number from 1 to 65535"
  [[ $utilization =~ ^0\.[0-9]+$ ]] ||
    fail "--utilization $utilization is no share of the memory: give a number such as 0.6"
  [[ $memory =~ ^[0-9]+[gm]$ ]] || fail "--memory $memory is no size: give one such as 48g"
  [[ $context =~ ^[0-9]+$ ]] || fail "--context $context is no number of tokens: give one such as 8192"
  if [[ $key_file ]]; then
    [[ -r $key_file ]] || fail "cannot read $key_file: give --api-key-file a file that you can read"
    [[ -s $key_file ]] || fail "$key_file is empty: write a key into it"
  fi
  if [[ $listen != 127.* && ! $key_file ]]; then
    fail "--listen $listen lets the network in, past the firewall: $listen_remedy"
  fi
}

check_docker() {
  command -v docker >/dev/null ||
    fail "docker is not installed: on NixOS set orin.containers.enable, elsewhere install Docker 25 or later"
  docker info >/dev/null 2>&1 ||
    fail "cannot talk to the Docker daemon: start it (sudo systemctl start docker), or run this with sudo"
}

# CDI where the daemon has a specification of the GPU, else NVIDIA's runtime. Sets gpu.
check_gpu() {
  local folder runtimes
  while read -r folder; do
    if [[ $folder ]] && grep --quiet --no-messages nvidia.com/gpu "$folder"/*; then
      gpu=(--device=nvidia.com/gpu=all)
      return
    fi
  done < <(docker info --format '{{range .CDISpecDirs}}{{println .}}{{end}}' 2>/dev/null)
  runtimes=$(docker info --format '{{range $name, $_ := .Runtimes}}{{println $name}}{{end}}')
  if grep --quiet --line-regexp nvidia <<<"$runtimes"; then
    gpu=(--runtime=nvidia --env=NVIDIA_VISIBLE_DEVICES=all --env=NVIDIA_DRIVER_CAPABILITIES=all)
    return
  fi
  fail "Docker cannot reach the GPU: on NixOS set orin.containers.enable, elsewhere install nvidia-container-toolkit and run sudo nvidia-ctk runtime configure --runtime=docker"
}

check_alone() {
  local other
  other=$(docker ps --filter label=orinix.server --format '{{.Names}}')
  other=${other%%$'\n'*}
  [[ ! $other ]] || fail "$other is running, and two would fight for the memory: stop it first (docker stop $other)"
  # A connection that succeeds means that somebody listens.
  if (: <>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
    fail "port $port is taken: stop what listens there, or choose another with --port"
  fi
}

check_memory() {
  local total free available need
  read -r total free available < <(
    awk '/^MemTotal|^MemFree|^MemAvailable/ { printf "%d ", $2 / 1024 }' /proc/meminfo && echo
  )
  need=$(awk "BEGIN { printf \"%d\", $utilization * $total }")
  ((need <= available)) ||
    fail "--utilization $utilization takes $need MiB, and $available of $total MiB are free: stop another program, or lower it"
  # CUDA on a Jetson does not count the page cache as free.
  ((need <= free)) ||
    echo "$program: the page cache holds memory that the server may miss; if it stops for want of memory: sudo sysctl vm.drop_caches=1" >&2
}

check_image() {
  docker image inspect "$image" >/dev/null 2>&1 || docker pull "$image" ||
    fail "cannot pull $image: check the name and the network, or bring it in with docker load"
}

run() {
  local shared flags=() mounts=()
  mapfile -t shared < <(cat "$here/container.flags" "$here/$engine.flags")
  if [[ -d $model ]]; then
    mounts+=("--mount=type=bind,src=$(realpath "$model"),dst=/model,readonly")
    model=/model
  fi
  if [[ $key_file ]]; then
    VLLM_API_KEY=$(<"$key_file")
    export VLLM_API_KEY
    flags+=(--env=VLLM_API_KEY) # by name: the value is in no command line
  fi
  [[ ! ${HF_TOKEN:-} ]] || flags+=(--env=HF_TOKEN)

  local command=(
    docker run --rm "--name=$engine" "${shared[@]}" "${flags[@]}" "${gpu[@]}"
    "--memory=$memory" "--memory-swap=$memory" "--publish=$listen:$port:8000"
    "--mount=type=volume,src=orinix-$engine,dst=/cache"
    "--mount=type=bind,src=$here/serve-$engine,dst=/serve,readonly" "${mounts[@]}"
    "$image" /serve "$model" "$@" "${extra[@]}"
  )
  if [[ $dry_run ]]; then
    printf '%q ' "${command[@]}"
    echo
    exit
  fi
  check_image
  exec "${command[@]}"
}
