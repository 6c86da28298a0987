#!/bin/bash
# A job as a runner plays it: fetch, build, test.
set -eu
cd "$HOME"; rm -rf build
git -c advice.detachedHead=false clone -q /srv/repo build
cd build
make -s all check
python3 -m pytest -q tests
npm run -s lint
javac -d out Quiet.java && java -cp out Quiet
go version > /dev/null && (cd tool && GOFLAGS=-mod=mod GOPROXY=off go build -o /tmp/tool . && /tmp/tool)
git status --short | head -3
git gc -q
