# What the commands here share, sourced by them: help, the program behind them, and the model.
# shellcheck shell=bash
: "${command:?}" "${program:?}" "${name:?}" "${file:?}" # what the caller sets

# Here, where download-model puts them, and where the service has them.
folders=(. "${ORINIX_MODELS:-${HOME:-}/models}" /var/lib/llama)

fail() {
  echo "$command: $*" >&2
  exit 2
}

# Sets model, and arguments to what is left for the program.
read_arguments() {
  case ${1:-} in
    -h | --help) usage && exit ;;
  esac
  command -v "$program" >/dev/null ||
    fail "$program is not installed: run this with nix run .#$command, or install llama.cpp"

  local download="download-model get $name" folder
  model=${MODEL:-}
  if (($#)) && [[ $1 != -* ]]; then
    model=$1
    shift
  fi
  arguments=("$@")

  if [[ ! $model ]]; then
    for folder in "${folders[@]}"; do
      [[ ! -f $folder/$file ]] || model=$folder/$file
      [[ ! $model ]] || break
    done
    [[ $model ]] || fail "no $file in ${folders[0]}, ${folders[1]} or ${folders[2]}: $download, or name a model"
  fi
  [[ -f $model ]] || fail "no model at $model: $download, or name another"
  [[ -r $model ]] || fail "cannot read $model: give yourself the permission, or name another model"
  local magic=''
  read -rN 4 magic <"$model" || true
  [[ $magic == GGUF ]] || fail "$model is no GGUF file: $download, or name another"
}
