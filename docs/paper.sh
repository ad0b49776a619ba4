# From CompressAI checkpoints to a paper's table and figures: run it line by line, or with bash.
# 1.pth to 4.pth: state dicts of one network, a file for each lambda, lowest rate first.
# photos/ and holiday/: your test sets; kodak, clic2020 and others go by name.
set -e

# Measure on both sets, and write down what was measured. VVenC needs the extra `formats`.
mine=compressai:model=bmshj2018-hyperprior:checkpoint=1.pth,2.pth,3.pth,4.pth:name=Mine
bench run --codecs "$mine,vvenc,jpeg" --dataset photos,holiday --metrics psnr,ms_ssim --anchor vvenc --save paper.toml

# The table (LaTeX, markdown, csv), best in bold; curves and bars in a column of 3.25 inches.
bench table paper.toml --out paper
bench figures rd paper.toml --width column --font serif --out paper
bench figures bd paper.toml --width column --font serif --out paper

# Later, with a new checkpoint or more photographs: the same run measures what is new.
bench run paper.toml

# What a reviewer needs to decode every stream: `bench review streams.tar` reads it.
bench pack export streams.tar --codecs "$mine" --dataset photos,holiday
