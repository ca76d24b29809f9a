"""Models on the Hugging Face Hub: `Swapper.from_hub`, `Run.push_to_hub`, and `hf://me/model` on the command line."""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import _cagan
from .cards import figures_of, model_card

if TYPE_CHECKING:
    from huggingface_hub import CommitInfo

__all__ = ["SCHEME", "downloaded", "load", "push"]

# How a model of the Hub is named on the command line.
SCHEME = "hf://"
_MODEL, _CONFIG, _SAMPLE = "model.safetensors", "config.json", "samples.png"


def load(
    repository: str, revision: str | None = None, device: Any = None, token: str | bool | None = None
) -> _cagan.Swapper:
    """Loads a model of the Hub; `Swapper.from_hub`."""
    return _cagan.Swapper(downloaded(repository, revision, token), device)


def downloaded(repository: str, revision: str | None = None, token: str | bool | None = None) -> Path:
    """Returns the path of a model's snapshot in the Hub's cache, where it is put if it is missing.

    Raises:
        ImportError: huggingface_hub is missing.
        FileNotFoundError: There is no such repository, revision or model, or no network and no copy in the cache.
        ValueError: The name is none of a repository, or the repository holds a model of another library.
        OSError: The Hub refuses or fails.
    """
    hub = _library()
    with _clear_errors(repository, revision):
        # The Hub counts downloads of this file.
        config = hub.hf_hub_download(repository, _CONFIG, revision=revision, token=token)
        try:
            _cagan.Config.from_json(Path(config).read_text(encoding="utf-8"))
        except (ValueError, TypeError) as error:
            raise ValueError(f"{repository}: expected a model of cagan, got another {_CONFIG}: {error}") from None
        # Of the same commit, if somebody pushes meanwhile.
        commit = Path(config).parent.name
        return Path(hub.hf_hub_download(repository, _MODEL, revision=commit, token=token))


def push(
    swapper: _cagan.Swapper,
    run_dir: Path,
    repository: str,
    *,
    samples: list[Path],
    licence: str | None,
    private: bool | None,
    revision: str | None,
    message: str | None,
    token: str | bool | None,
) -> str:
    """Uploads a snapshot, its config, its card and the newest sample grid; `Run.push_to_hub`.

    Returns:
        The address of the commit.
    """
    hub = _library()
    sample = samples[-1] if samples else None
    name = repository.rsplit("/", 1)[-1]
    use = [
        "```python",
        "import cagan  # pip install 'cagan[hub]'",
        f'swapper = cagan.Swapper.from_hub("{repository}")',
        'swapper.swap("human.jpg", "worn.jpg", "target.jpg").save("swap.png")',
        "```",
        "",
        "Pictures have any size, and the swap has the photo's.",
    ]
    card = model_card(swapper, run_dir, name, use, None if sample is None else _SAMPLE)
    files = {
        _MODEL: swapper.snapshot(),
        _CONFIG: swapper.config.to_json().encode(),
        "README.md": f"---\n{_header(run_dir, name, licence)}\n---\n\n{card}".encode(),
    }
    if sample is not None:
        files[_SAMPLE] = sample.read_bytes()
    with tempfile.TemporaryDirectory(prefix="cagan-hub-") as folder, _clear_errors(repository, revision):
        for file, content in files.items():
            (Path(folder) / file).write_bytes(content)
        api = hub.HfApi(token=token)
        address = api.create_repo(repository, private=private, exist_ok=True)
        if revision is not None:
            api.create_branch(address.repo_id, branch=revision, exist_ok=True)
        made: CommitInfo = api.upload_folder(
            repo_id=address.repo_id,
            folder_path=folder,
            revision=revision,
            commit_message=message or f"cagan, step {swapper.step}",
        )
    return str(made.commit_url)


def _header(run_dir: Path, name: str, licence: str | None) -> str:
    """The card's YAML: what the Hub lists and searches."""
    from huggingface_hub import EvalResult, ModelCardData

    figures = {key: figure for key, figure in figures_of(run_dir).items() if figure.value == figure.value}
    results = [
        EvalResult(
            task_type="image-to-image",
            dataset_type="pairs",
            dataset_name="pairs given to cagan.evaluate",
            metric_type=key,
            metric_value=round(figure.value, 4),
        )
        for key, figure in figures.items()
    ]
    data = ModelCardData(
        library_name="cagan",
        pipeline_tag="image-to-image",
        license=licence,
        tags=["virtual-try-on", "fashion"],
        metrics=list(figures) or None,
        eval_results=results or None,
        model_name=name if results else None,
    )
    return str(data.to_yaml())


def _library() -> Any:
    try:
        import huggingface_hub
    except ImportError as error:
        raise ImportError("huggingface_hub: expected for the Hub, found none; pip install 'cagan[hub]'") from error
    return huggingface_hub


@contextlib.contextmanager
def _clear_errors(repository: str, revision: str | None) -> Iterator[None]:
    """Says in one line what the Hub lacks or refuses."""
    from huggingface_hub import errors

    # Of httpx, under whatever name the library brings it.
    unreachable: type[Exception] = getattr(errors, "HTTPError", ConnectionError)
    at = repository if revision is None else f"{repository} at {revision}"
    try:
        yield
    except errors.LocalEntryNotFoundError as error:
        raise FileNotFoundError(f"{at}: expected an answer of the Hub or a copy in its cache, got neither") from error
    except errors.EntryNotFoundError as error:
        raise FileNotFoundError(
            f"{at}: expected {_CONFIG} and {_MODEL}, as Run.push_to_hub writes, got none"
        ) from error
    except errors.RevisionNotFoundError as error:
        raise FileNotFoundError(f"{at}: expected a branch, a tag or a commit, got none of this name") from error
    except errors.RepositoryNotFoundError as error:
        raise FileNotFoundError(
            f"{at}: expected a repository of the Hub that you may read, got none; `hf auth login` for a private one"
        ) from error
    except errors.HfHubHTTPError as error:
        reason = " ".join(str(error.server_message or error).split())
        if error.response.status_code in (401, 403):
            raise PermissionError(f"{at}: the Hub refuses: {reason}; `hf auth login` with a token that may") from error
        raise OSError(f"{at}: the Hub fails: {reason}") from error
    except errors.HFValidationError as error:
        raise ValueError(f"{repository}: expected a repository as OWNER/MODEL: {error}") from error
    except errors.OfflineModeIsEnabled as error:
        raise ConnectionError(f"{at}: HF_HUB_OFFLINE is set, so that nothing is sent to the Hub") from error
    except unreachable as error:
        raise ConnectionError(f"{at}: expected an answer of the Hub, got none: {error}") from error


def parsed(text: str | os.PathLike[str]) -> tuple[str, str | None]:
    """Splits `hf://me/model@revision` into repository and revision.

    Raises:
        ValueError: It has another form.

    Example:
        >>> from cagan.hub import parsed
        >>> parsed("hf://me/dress"), parsed("hf://me/dress@v1")
        (('me/dress', None), ('me/dress', 'v1'))
    """
    text = str(text)
    repository, _, revision = text.removeprefix(SCHEME).partition("@")
    if not text.startswith(SCHEME) or repository.count("/") != 1 or not all(repository.split("/")):
        raise ValueError(f"{text}: expected {SCHEME}OWNER/MODEL or {SCHEME}OWNER/MODEL@REVISION")
    return repository, revision or None
