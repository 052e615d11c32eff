"""The Open Inference Protocol, version 2, over REST: bytes <-> typed requests and responses.

Pure functions over bytes: they know nothing of HTTP frameworks, models or images. JSON tensors, the binary tensor
extension and the classification extension's parameters are understood; what a model takes and gives is said by a
`Signature`, and a request that does not fit it is refused with a `ProtocolError` that names the tensor.
"""

from service.inference_protocol.compression import Inflater, accepted_encoding, compress
from service.inference_protocol.errors import ProtocolError, TooLarge, UnsupportedEncoding
from service.inference_protocol.request import InferenceRequest, RequestedOutput, parse_request
from service.inference_protocol.response import EncodedResponse, OutputTensor, encode_response
from service.inference_protocol.signature import Signature, TensorSpec

__all__ = [
    "EncodedResponse",
    "InferenceRequest",
    "Inflater",
    "OutputTensor",
    "ProtocolError",
    "RequestedOutput",
    "Signature",
    "TensorSpec",
    "TooLarge",
    "UnsupportedEncoding",
    "accepted_encoding",
    "compress",
    "encode_response",
    "parse_request",
]
