"""What streaming costs, each figure beside a reference that was measured in the same run and through the same edge."""
