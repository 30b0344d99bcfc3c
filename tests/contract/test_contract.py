"""Every installed component keeps its promises: the public conformance suite, as part of the project's own tests."""

import pytest

from regbench.testing.suite.test_components import *  # noqa: F403
from regbench.testing.suite.test_datasets import *  # noqa: F403
from regbench.testing.suite.test_metrics import *  # noqa: F403
from regbench.testing.suite.test_registrators import *  # noqa: F403
from regbench.testing.suite.test_strategies import *  # noqa: F403
from regbench.testing.suite.test_translators import *  # noqa: F403

pytestmark = pytest.mark.contract
