// The programs that the project's commands start and that a bare machine may lack, each with the Debian package that has
// it. A name that begins with a slash is a file, and `python3 -m NAME` a module of Python. Packages that every Debian has
// (its essential ones: bash, coreutils, diffutils, findutils, grep, gzip, sed) are left out.

export const mounting = { mount: 'mount', umount: 'mount', 'mount.nfs': 'nfs-common', modprobe: 'kmod' }

/** For machines whose kernel has no NFS client: see test/guest/run. */
export const guest = { 'linux.uml': 'user-mode-linux', ip: 'iproute2' }

/** What test/guest/xstate.c is compiled with, on processors that need it. */
export const compiler = { gcc: 'gcc', '/usr/include/stdio.h': 'libc6-dev' }

/** For test/mounted: what people edit and read tables with. */
export const editing = {
  awk: 'mawk',
  ed: 'ed',
  fuser: 'psmisc',
  git: 'git',
  jq: 'jq',
  less: 'less',
  nano: 'nano',
  perl: 'perl',
  ps: 'procps',
  python3: 'python3',
  rsync: 'rsync',
  script: 'bsdutils',
  setpriv: 'util-linux',
  sponge: 'moreutils',
  tar: 'tar',
  unshare: 'util-linux',
  vim: 'vim',
}

/** For test/interop. Spark needs Java 17 or newer, which Debian's default is; libnfs is an NFS client of its own. */
export const engines = {
  python3: 'python3',
  'python3 -m ensurepip': 'python3-venv',
  java: 'default-jre-headless',
  'nfs-cat': 'libnfs-utils',
  'nfs-cp': 'libnfs-utils',
  'nfs-ls': 'libnfs-utils',
}

/** What MinIO is built with, for test/s3. Go 1.21 or newer fetches the version that MinIO wants by itself. */
export const store = { go: 'golang-go' }

/** For the unit tests. */
export const unit = { unshare: 'util-linux' }
