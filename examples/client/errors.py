"""Handle each kind of error by its class. Each one says whether another attempt can help."""

import sys

from vllm_operator.client import (
    ConnectionRefused,
    InvalidRequest,
    ModelNotFound,
    RateLimitExceeded,
    ServerOverloaded,
    TokenLimitExceeded,
    VLLMClient,
    VLLMClientError,
)


def explain(client: VLLMClient, prompt: str, model: str | None = None, max_tokens: int = 16) -> str:
    """Return the answer, or what to do about the error."""
    try:
        if model is not None:
            return client.chat(prompt, model=model, max_tokens=max_tokens).content
        return client.chat(prompt, max_tokens=max_tokens).content
    except TokenLimitExceeded as error:
        return f"too long: the model holds {error.max_model_len} tokens; shorten the prompt or lower max_tokens"
    except InvalidRequest as error:
        return f"wrong request, field {error.param}: {error}"
    except ModelNotFound:
        return f"no such model; there are {[model.id for model in client.models()]}"
    except (RateLimitExceeded, ServerOverloaded) as error:
        return f"busy: try again after {error.retry_after or 'some'} seconds"
    except ConnectionRefused:
        return "nothing listens there: the server loads its model, or the address is wrong"
    except VLLMClientError as error:
        return f"{type(error).__name__}, {'a retry may help' if error.retryable else 'a retry does not help'}: {error}"


with VLLMClient(sys.argv[1] if len(sys.argv) > 1 else "http://localhost:8000") as good:
    print(explain(good, "Hello"))
    print(explain(good, "Hello", max_tokens=1_000_000))
    print(explain(good, "Hello", max_tokens=-1))
    print(explain(good, "Hello", model="no-such-model"))

with VLLMClient("http://127.0.0.1:9") as nobody:  # The discard port: nothing listens.
    print(explain(nobody, "Hello", model="any"))
