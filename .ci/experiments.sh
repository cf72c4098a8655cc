# Of the scripts beside it: the project's environment, and what an experiment in a fresh clone needs.
cd "$(git rev-parse --show-toplevel)"
export PATH="$PWD/.venv/bin:$PATH"
# DVC commits experiments, and a fresh machine has no git identity.
export GIT_AUTHOR_NAME="${GIT_AUTHOR_NAME:-ci}" GIT_AUTHOR_EMAIL="${GIT_AUTHOR_EMAIL:-ci@segscope.invalid}"
export GIT_COMMITTER_NAME="$GIT_AUTHOR_NAME" GIT_COMMITTER_EMAIL="$GIT_AUTHOR_EMAIL"

# experiment NAME ARGUMENTS: run it, in the place of one that had the name.
experiment() {
  local name=$1
  shift
  dvc exp remove --quiet "$name" 2>/dev/null || true
  dvc exp run --name "$name" "$@"
}
