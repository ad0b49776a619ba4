"""HiFiC (Mentzer et al., NeurIPS 2020) by the graphs of its authors and TensorFlow Compression."""

import tensorflow as tf
import tensorflow_compression as tfc
import tfci  # of the folder, models
from rdrbench_worker import Pixels, serve

tfci.METAGRAPH_CACHE = "checkpoints"
MODELS = ("hific-lo", "hific-mi", "hific-hi")


class Hific:
    """A graph for each rate, encoder or decoder, imported when it is first asked for."""

    sweep = [("model", index) for index in range(len(MODELS))]  # lowest rate first
    decoder_needs = ()  # the stream names the model and has the sizes

    def __init__(self):
        self.graphs = {}

    def graph(self, model, side):
        """Return a function of the graph, "sender" or "receiver"."""
        if (model, side) not in self.graphs:
            self.graphs[model, side] = tfci.instantiate_model_signature(model, side)
        return self.graphs[model, side]

    def encode(self, pixels, setting):
        """Return what tfci.py writes to a file."""
        packed = tfc.PackedTensors()
        packed.model = MODELS[int(setting[1])]
        packed.pack(self.graph(packed.model, "sender")(tf.constant(pixels.numpy()[None])))
        return packed.string

    def decode(self, data):
        """Return the picture, rounded as tfci.py does it."""
        packed = tfc.PackedTensors(data)
        receiver = self.graph(packed.model, "receiver")
        [picture] = receiver(*packed.unpack([tensor.dtype for tensor in receiver.inputs]))
        if picture.dtype.is_floating:
            picture = tf.round(picture)
        return Pixels.from_numpy(tf.saturate_cast(picture, tf.uint8)[0].numpy())


if __name__ == "__main__":
    serve(Hific)
