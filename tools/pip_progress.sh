#!/usr/bin/env bash
# Turns what pip says (standard input) of what it installs into how far it is: on a
# terminal one line that is rewritten, elsewhere a line every ten packages and every ten seconds.
#
#   pip install --progress-bar off -r LOCK 2>&1 | tools/pip_progress.sh PACKAGES SITE_PACKAGES
#
# PACKAGES: their number. SITE_PACKAGES: where pip unpacks them, which takes as long as the download
# and of which pip says nothing; a package is there when its folder *.dist-info is.
set -euo pipefail

packages=$1 site=$2
number=0 name="" size="" bytes=0   # packages so far, the present one, all that was downloaded
unpacking="" succeeded=""
before=0                           # packages that were there when unpacking began
spoken=0 at=0                      # second and package of the last line that was printed
trap '[ ! -t 1 ] || echo; exit 130' INT

present() { # number of packages in SITE_PACKAGES
  local -a found
  shopt -s nullglob
  found=("$site"/*.dist-info)
  echo "${#found[@]}"
}

in_bytes() { # "12.3 MB" as pip writes it -> 12300000
  local value=${1% *} factor
  case $1 in *" MB") factor=1000000 ;; *" kB") factor=1000 ;; *) factor=1 ;; esac
  [[ $value == *.* ]] || value+=.0
  echo $((${value%.*} * factor + ${value#*.} * factor / 10))
}

in_words() { # "dir/torch-2.13.0+cpu-cp311-cp311-linux.whl" -> "torch-2.13.0+cpu"
  local file=${1##*/}
  file=${file%.tar.gz}
  file=${file%%-cp[0-9]*}
  echo "${file%%-py[0-9]*}"
}

take() { # a line of pip
  local file=${1#*ing }
  file=${file#cached }
  file=${file%% (*}
  case $1 in
    "Collecting "*) name=$file size="" number=$((number + 1)) ;;
    "Processing "*) name=$(in_words "$file") size="on this machine" number=$((number + 1)) ;;
    "  Using cached "*" ("*) name=$(in_words "$file") size="downloaded before" ;;
    "  Downloading "*" ("*)
      name=$(in_words "$file") size=${1##*\(} size=${size%)*}
      bytes=$((bytes + $(in_bytes "$size")))
      ;;
    "Installing collected packages: "*) unpacking=1 before=$(present) at=0 ;;
    "Successfully installed "*) succeeded=1 ;;
  esac
}

show() {
  local reached=$number line
  line="package $number of $packages: ${name:-pip looks for it}${size:+, $size}, $SECONDS s"
  if [ -n "$unpacking" ]; then
    reached=$(($(present) - before))
    line="unpacking: package $reached of $packages, $SECONDS s"
  fi
  if [ -t 1 ]; then
    printf '\r\033[K  %s' "${line:0:76}"
  elif ((SECONDS >= spoken + 10)) || { ((reached >= at + 10)) && [ -n "$size" ]; }; then
    spoken=$SECONDS at=$reached
    printf '  %s\n' "$line"
  fi
}

part="" # of a line that has not ended
while true; do
  if IFS= read -r -t 1 line; then
    take "$part$line"
    part=""
  elif (($? > 128)); then # nothing for a second
    part+=$line
  else
    break
  fi
  show
done
[ ! -t 1 ] || printf '\r\033[K'
[ -z "$succeeded" ] || printf '  %d of %d packages, %d MB downloaded, %d s\n' \
  "$number" "$packages" $((bytes / 1000000)) "$SECONDS"
