"""PerCo (SD) (Korber et al., 2024) by the code of its authors: a caption and indices of vectors."""

import os
import sys

sys.path.insert(0, "src")

import torch
from compression_utils import (  # of the folder
    compress_hyper_latent,
    compress_text,
    decompress_hyper_latent,
    decompress_text,
)
from config import ConfigPerco
from hyperpriors import cropped, divided, frame, joined
from pipeline_sd_perco import StableDiffusionPipelinePerco
from rdrbench_worker import serve
from torch.nn.functional import pad
from torchvision.transforms.functional import to_tensor
from transformers import Blip2ForConditionalGeneration, Blip2Processor

MULTIPLE = 64  # of height and width; edges repeated. Theirs resizes all pictures to 512 x 512
RATE = float(os.environ.get("PERCO_RATE", "0.125"))  # bits per pixel of the indices
MODEL = "checkpoints/%g" % RATE  # a folder of the pipeline
BLIP = "checkpoints/blip2"  # a folder of ConfigPerco.blip_model


class PerCo:
    """The pipeline of one rate, and in the encoder the network that writes captions."""

    sweep = [("bpp", RATE)]
    decoder_needs = ("size",)

    def __init__(self):
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        ConfigPerco.target_rate, self.captions = RATE, None
        self.pipe = StableDiffusionPipelinePerco.from_pretrained(
            MODEL, safety_checker=None, requires_safety_checker=False
        ).to(self.device)
        self.pipe.hyper_enc.quantizer.eval()

    def caption(self, x):
        """Return what BLIP-2 says of a picture."""
        if self.captions is None:
            network = Blip2ForConditionalGeneration.from_pretrained(BLIP).to(self.device)
            self.captions = Blip2Processor.from_pretrained(BLIP), network
        processor, network = self.captions
        inputs = processor(images=x[0] * 255, return_tensors="pt").to(self.device)
        words = network.generate(**inputs, max_length=ConfigPerco.max_number_tokens)
        return processor.batch_decode(words, skip_special_tokens=True)[0].strip()

    def encode(self, pixels, setting):
        """Return the length of the indices' string, that string and the caption's."""
        torch.manual_seed(0)  # the latent is drawn
        edges, _ = frame((pixels.height, pixels.width), MULTIPLE, centred=False)
        with torch.no_grad():
            x = pad(pixels.torch(self.device), edges, mode="replicate")
            latent = self.pipe.vae.encode(x * 2 - 1).latent_dist.sample()
            out = self.pipe.hyper_enc(latent * self.pipe.vae.config.scaling_factor)
            caption = self.caption(x.cpu())
        return joined(compress_hyper_latent(out.indices), compress_text(caption))

    def decode(self, data, size):
        """Return the picture, drawn from the same noise each time."""
        indices, caption = divided(data)
        edges, shape = frame(size, MULTIPLE, centred=False)
        height, width = (MULTIPLE * side for side in shape)
        with torch.no_grad():
            symbols = decompress_hyper_latent(indices, (height, width)).long().to(self.device)
            z = self.pipe.hyper_enc.quantizer.get_output_from_indices(symbols)
            picture = self.pipe(
                decompress_text(caption),
                z.permute(0, 3, 1, 2),
                height=height,
                width=width,
                num_inference_steps=ConfigPerco.num_inference_steps,
                guidance_scale=ConfigPerco.guidance_scale,
                generator=torch.Generator(self.device).manual_seed(ConfigPerco.random_seed),
            ).images[0]
        return cropped(to_tensor(picture)[None], edges)


if __name__ == "__main__":
    serve(PerCo)
