#!/usr/bin/env bash
# Review the submissions that differ from BASE, make the site, and write a comment (pull request).
#
#     tools/leaderboard.sh [BASE]     in a checkout with submissions/NAME.tar, or folders; without
#                                     BASE every submission is reviewed
#
# Variables: OUT, the folder of site/, reviews/ and comment.md (default: leaderboard); BENCH, the
# command; METRICS. Exit code 1 if a review contradicts a submission.
set -euo pipefail
out=${OUT:-leaderboard} bench=${BENCH:-.venv/bin/bench} metrics=${METRICS:-psnr,ms_ssim} code=0
mkdir -p "$out"
echo "### Leaderboard" > "$out/comment.md"
for pack in submissions/*.tar submissions/*/; do
  [ -e "$pack" ] || continue
  [ -z "${1:-}" ] || ! git diff --quiet "$1" -- "$pack" || continue
  name=$(basename "$pack" .tar)
  "$bench" review "$pack" --metrics "$metrics" --out "$out/reviews/$name" > "$out/said" 2>&1 || code=1
  {
    printf '\n**%s**\n\n' "$name"
    if [ -f "$out/reviews/$name/review.md" ]; then
      grep '^- \*\*' "$out/reviews/$name/review.md"  # the verdict on each question
    else
      sed 's/^/    /' "$out/said"
    fi
  } >> "$out/comment.md"
done
"$bench" site results --submissions submissions --metrics "$metrics" --out "$out/site" > "$out/said" \
  || [ -f "$out/site/index.html" ]
{ printf '\n'; sed 's/^/    /' "$out/said"; } >> "$out/comment.md"
rm "$out/said"
exit $code
