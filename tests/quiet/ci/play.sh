# A runner clones a repository, builds it with make, javac and go, tests it, twice. The repository is the deployment's.
cp -r "$FOLDER/repo" "$WORK/repo"
git -C "$WORK/repo" init -q; git -C "$WORK/repo" add .
git -C "$WORK/repo" -c user.name=q -c user.email=q@quiet.invalid commit -qm quiet
cp "$FOLDER/job.sh" "$WORK/job.sh"; chmod 755 "$WORK/job.sh"
start -e GIT_CONFIG_COUNT=1 -e GIT_CONFIG_KEY_0=safe.directory -e 'GIT_CONFIG_VALUE_0=*' -v "$WORK/repo:/srv/repo:ro" -v "$WORK/job.sh:/srv/job.sh:ro" "$IMAGE"
in_container /srv/job.sh
in_container /srv/job.sh
steady 60 /srv/job.sh
