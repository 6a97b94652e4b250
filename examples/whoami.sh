#!/bin/sh
# The agent's health, and who this device is to it. Usage: whoami.sh [URL]
set -eu
proxy=${1:-http://127.0.0.1:7070}
curl --fail --silent --show-error "$proxy/api/health"
echo
curl --fail --silent --show-error "$proxy/api/whoami"
echo
