#!/bin/sh
# Stands in for the images registry.internal/checks/...: says what such a check would say, and how it went. `make examples` runs it;
# in real life there is an image of yours, with your tests in it.
kind=$1
echo "$kind: called with: $*"
case $kind in
  regression) echo '{"run": 412, "failed": 0, "skipped": 3}' ;;
  security) echo '{"critical": 0, "high": 0, "medium": 2}' ;;
  load) echo '{"users": 100, "seconds": 60, "failed": 0, "p95_ms": 180}' ;;
  smoke) echo '{"run": 9, "failed": 0}' ;;
  *) echo "no such check: $kind"; exit 2 ;;
esac
