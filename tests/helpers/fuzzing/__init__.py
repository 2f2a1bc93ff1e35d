"""Valid files of every kind that is read, broken in every way, given to their readers in processes that may die."""
