"""The paper's figures and claims as experiments: one module and one configuration file each."""
