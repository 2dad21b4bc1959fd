# shellcheck shell=bash disable=SC2016,SC2154
# Images built by containers, and compose. Sourced by hack/client/docker.sh.

build_context() {
    mkdir -p "$work/context"
    echo 'a file' >"$work/context/file"
    cat >"$work/context/Dockerfile" <<'DOCKERFILE'
FROM busybox
ARG WHO=nobody
ENV NAME=$WHO
COPY file /copied
RUN echo "built by $NAME" >/made && id -u >>/made
USER web
RUN id -u >/tmp/user
WORKDIR /home/web
CMD ["sh", "-c", "cat /made /copied /tmp/user; pwd"]
DOCKERFILE
}

built='built by us
0
a file
1000
/home/web'

test_build_classic() {
    build_context
    DOCKER_BUILDKIT=0 docker build --no-cache --build-arg WHO=us --tag classic "$work/context"
    is "$built" "$(docker run --rm classic)"
    docker rmi classic >/dev/null
}

test_build_classic_that_fails() {
    build_context
    sed -i 's/^RUN echo.*/RUN exit 42/' "$work/context/Dockerfile"
    exits 42 env DOCKER_BUILDKIT=0 timeout 60 /usr/bin/docker build --no-cache "$work/context"
    has "$output" 'returned a non-zero code: 42'
    docker container prune --force >/dev/null
}

test_build_buildkit() {
    build_context
    DOCKER_BUILDKIT=1 docker build --no-cache --progress plain --build-arg WHO=us --tag kit "$work/context"
    is "$built" "$(docker run --rm kit)"
    docker rmi kit >/dev/null
}

test_build_buildkit_that_fails() {
    build_context
    sed -i 's/^RUN echo.*/RUN exit 42/' "$work/context/Dockerfile"
    exits 1 env DOCKER_BUILDKIT=1 timeout 60 /usr/bin/docker build --no-cache --progress plain "$work/context"
    has "$output" 'exit code: 42'
}

test_build_buildkit_mounts() {
    build_context
    printf '%s\n' 'FROM busybox' \
        'RUN --mount=type=tmpfs,target=/scratch --mount=type=cache,target=/cache grep -E " /(scratch|cache) " /proc/mounts >/seen' \
        'CMD ["cat", "/seen"]' >"$work/context/Dockerfile"
    DOCKER_BUILDKIT=1 docker build --no-cache --progress plain --tag mounts "$work/context"
    has "$(docker run --rm mounts)" ' /scratch tmpfs' ' /cache '
    docker rmi mounts >/dev/null
    docker builder prune --all --force >/dev/null
}

compose() { (cd "$work/compose" && bounded docker-compose "$@"); }

test_compose() {
    mkdir -p "$work/compose"
    cat >"$work/compose/docker-compose.yml" <<'YAML'
version: "2.4"
services:
  server:
    image: busybox
    command: sh -c "echo composed >/index.html; exec httpd -f -h /"
    healthcheck: { test: ["CMD", "wget", "-q", "-O", "/dev/null", "http://127.0.0.1/index.html"], interval: 0.5s }
    mem_limit: 32m
    sysctls: { net.core.somaxconn: 512 }
  client:
    image: busybox
    depends_on: { server: { condition: service_healthy } }
    command: sh -c "wget -q -O - http://server/index.html; sleep 60"
    init: true
YAML
    compose up --detach
    until_true eval 'compose logs client | grep -q composed'
    is 512 "$(compose exec -T server cat /proc/sys/net/core/somaxconn)"
    is 33554432 "$(limit memory.limit_in_bytes memory.max "$(compose ps --quiet server)")"
    compose up --detach --scale server=3
    is 3 "$(compose ps --quiet server | wc -l)"
    compose down --timeout 1
    is '' "$(docker ps --all --quiet --filter label=com.docker.compose.project=compose)"
}
