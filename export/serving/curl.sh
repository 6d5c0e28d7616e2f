#!/usr/bin/env bash
# The requests that a server of an exported model answers, one after the other.
#
#   bash curl.sh                                          # http://localhost:8501, the model `sentiment`
#   URL=http://host:8501 MODEL=sentiment bash curl.sh
#   TFSENT_SERVE_TOKEN=… bash curl.sh                           # for a server that wants a token
set -euo pipefail
URL=${URL:-http://localhost:8501}
MODEL=${MODEL:-sentiment}

ask() { # TITLE PATH [BODY]
  printf '\n# %s\n' "$1"
  # The header goes in by a file, for a process list shows arguments.
  curl --silent --show-error --fail-with-body --max-time 30 ${3:+--data "$3"} \
    --header 'Content-Type: application/json' \
    --header @<(printf '%s' "${TFSENT_SERVE_TOKEN:+Authorization: Bearer $TFSENT_SERVE_TOKEN}") "$URL$2"
  echo
}

ask 'Is it loaded?' "/v1/models/$MODEL"
ask 'What does it take and give?' "/v1/models/$MODEL/metadata"
ask 'Predict, a row for each text' "/v1/models/$MODEL:predict" '{"instances": ["Loved every minute.", "A bore."]}'
ask 'Predict, a column for each output' "/v1/models/$MODEL:predict" \
  '{"inputs": {"text": ["Loved every minute.", "A bore."]}}'
ask 'Predict bytes, as base64' "/v1/models/$MODEL:predict" '{"instances": [{"b64": "TG92ZWQgZXZlcnkgbWludXRlLg=="}]}'
ask 'Figures for Prometheus' /monitoring/prometheus/metrics
ask 'Classify: all classes with their scores' "/v1/models/$MODEL:classify" \
  '{"signature_name": "classify", "examples": [{"text": "Loved every minute."}, {"text": "A bore."}]}'
